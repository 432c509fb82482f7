#include "core/model/extension.h"

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

constexpr char kColumnsPrefix[] = "columns/";
constexpr char kReplacedPrefix[] = "replaced/";
constexpr char kFormat[] = "portolan-extension-1";

}  // namespace

std::string BatchColumnsKey(const std::string& key) { return absl::StrCat(key, "#batch"); }

TensorBundle ToBundle(const Extension& extension) {
  TensorBundle bundle;
  bundle.metadata = {
      {"format", kFormat}, {"batches", extension.batches}, {"reasons", extension.reasons}};
  for (const auto& [key, tensor] : extension.columns) bundle.tensors[kColumnsPrefix + key] = tensor;
  for (const auto& [key, tensor] : extension.replaced) {
    bundle.tensors[kReplacedPrefix + key] = tensor;
  }
  return bundle;
}

absl::StatusOr<Extension> ExtensionFromBundle(const TensorBundle& bundle) {
  const auto malformed = [](const std::string& what) {
    return InvalidField("extension", what, "The stored extension is damaged; map the query again");
  };
  if (bundle.metadata.value("format", nlohmann::json()) != kFormat) {
    return malformed("the format mark is missing");
  }
  Extension extension;
  for (const auto& [name, target] :
       {std::pair{"batches", &extension.batches}, std::pair{"reasons", &extension.reasons}}) {
    const auto list = bundle.metadata.value(name, nlohmann::json());
    if (!list.is_array()) return malformed(absl::StrCat("'", name, "' is no list"));
    for (const auto& item : list) {
      if (!item.is_string()) return malformed(absl::StrCat("'", name, "' holds no strings"));
      target->push_back(item.get<std::string>());
    }
  }
  for (const auto& [name, tensor] : bundle.tensors) {
    absl::string_view key = name;
    if (absl::ConsumePrefix(&key, kColumnsPrefix)) {
      extension.columns[std::string(key)] = tensor;
    } else if (absl::ConsumePrefix(&key, kReplacedPrefix)) {
      extension.replaced[std::string(key)] = tensor;
    } else {
      return malformed(absl::StrCat("tensor '", name, "' is unknown"));
    }
  }
  return extension;
}

Extension Compose(const std::vector<Extension>& adapters) {
  Extension all;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, int64_t> widths;
  for (const Extension& adapter : adapters) {
    all.batches.insert(all.batches.end(), adapter.batches.begin(), adapter.batches.end());
    for (const auto& [key, tensor] : adapter.columns) {
      const auto floats = tensor.floats();
      values[key].insert(values[key].end(), floats.begin(), floats.end());
      widths[key] = tensor.shape()[1];
    }
  }
  for (const auto& [key, floats] : values) {
    all.columns[key] =
        HostTensor::FromFloats({static_cast<int64_t>(all.batches.size()), widths[key]}, floats);
  }
  return all;
}

}  // namespace portolan
