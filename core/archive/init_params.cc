#include "core/archive/init_params.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/py_text.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

absl::Status WrongType(const std::string& name, const PyValue& value, std::string_view wanted) {
  return ArchiveError(absl::StrCat("init_params_ gives ", Absl(Quoted(name)), " as ",
                                   KindName(value), ", not ", Absl(wanted)),
                      "Save the model again with scvi-tools");
}

template <typename T, typename Read>
absl::StatusOr<T> Typed(const PyValue& value, const std::string& name, T fallback, Read read,
                        std::string_view wanted) {
  if (value.is_none()) return fallback;
  const auto typed = read(value);
  if (!typed.has_value()) return WrongType(name, value, wanted);
  return T(*typed);
}

}  // namespace

absl::Status InitParams::AddAll(const PyValue& dict, bool module) {
  for (size_t i = 0; i < dict.size(); ++i) {
    const auto name = dict.Key(i).Str();
    if (!name.has_value()) {
      return ArchiveError(absl::StrCat("init_params_ has a key that is ", KindName(dict.Key(i))));
    }
    values_[std::string(*name)] = dict.Value(i);
    if (module) module_arguments_.emplace_back(*name);
  }
  return absl::OkStatus();
}

absl::StatusOr<InitParams> InitParams::Flatten(const PyValue& init_params) {
  if (!init_params.is(PyKind::kDict)) {
    return ArchiveError(absl::StrCat("init_params_ is ", KindName(init_params), ", not a dict"),
                        "Save the model again with scvi-tools 0.15 or newer");
  }
  InitParams params;
  const bool nested = init_params.Has("non_kwargs") || init_params.Has("kwargs");
  const PyValue own = nested ? init_params.Get("non_kwargs") : init_params;
  const PyValue groups = nested ? init_params.Get("kwargs") : init_params;
  PORTOLAN_RETURN_IF_ERROR(params.AddAll(own, /*module=*/false));
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!groups.Value(i).is(PyKind::kDict)) continue;
    PORTOLAN_RETURN_IF_ERROR(params.AddAll(groups.Value(i), /*module=*/true));
  }
  return params;
}

PyValue InitParams::Get(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? PyValue() : found->second;
}

absl::StatusOr<int64_t> InitParams::Int(const std::string& name, int64_t fallback) const {
  return Typed<int64_t>(Get(name), name, fallback, IntOf, "an int");
}

absl::StatusOr<double> InitParams::Number(const std::string& name, double fallback) const {
  return Typed<double>(Get(name), name, fallback, NumberOf, "a number");
}

absl::StatusOr<bool> InitParams::Bool(const std::string& name, bool fallback) const {
  return Typed<bool>(Get(name), name, fallback, BoolOf, "a bool");
}

absl::StatusOr<std::string> InitParams::Text(const std::string& name,
                                             std::string_view fallback) const {
  const auto read = [](const PyValue& value) { return value.Str(); };
  return Typed<std::string>(Get(name), name, std::string(fallback), read, "a str");
}

}  // namespace portolan
