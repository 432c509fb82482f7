#include "core/archive/tensor_bundle.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/shared_bytes.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // as safetensors bounds it
constexpr size_t kMostDimensions = 64;
constexpr char kMetadata[] = "__metadata__";
constexpr char kMetadataKey[] = "portolan";

constexpr std::pair<DType, const char*> kNames[] = {
    {DType::kFloat32, "F32"}, {DType::kFloat64, "F64"},   {DType::kFloat16, "F16"},
    {DType::kInt64, "I64"},   {DType::kBFloat16, "BF16"}, {DType::kInt32, "I32"},
    {DType::kInt16, "I16"},   {DType::kInt8, "I8"},       {DType::kUInt8, "U8"},
    {DType::kBool, "BOOL"},
};

absl::Status BundleError(std::string_view found) {
  return InvalidField("bundle", found, "Restore the file from a copy; it is damaged");
}

const char* NameOf(DType dtype) {
  for (const auto& [known, name] : kNames) {
    if (known == dtype) return name;
  }
  return "";
}

std::optional<DType> DTypeOf(const json& name) {
  for (const auto& [dtype, known] : kNames) {
    if (name == known) return dtype;
  }
  return std::nullopt;
}

/// Wide types first, so that every tensor is aligned; then by name.
std::vector<const std::pair<const std::string, HostTensor>*> InFileOrder(
    const TensorBundle& bundle) {
  std::vector<const std::pair<const std::string, HostTensor>*> order;
  for (const auto& entry : bundle.tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return DTypeSize(a->second.dtype()) > DTypeSize(b->second.dtype());
  });
  return order;
}

struct Placed {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

absl::StatusOr<Placed> ReadPlace(const std::string& name, const json& entry, uint64_t data_bytes) {
  const auto broken = [&name](std::string_view why) {
    return BundleError(absl::StrCat("the tensor ", Absl(Quoted(name)), " ", Absl(why)));
  };
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    return broken("is not described by dtype, shape and data_offsets");
  }
  Placed placed;
  placed.name = name;
  const auto dtype = DTypeOf(entry["dtype"]);
  if (!dtype.has_value()) return broken("has an unknown dtype");
  placed.dtype = *dtype;
  const json& shape = entry["shape"];
  if (!shape.is_array() || shape.size() > kMostDimensions) return broken("has a broken shape");
  uint64_t bytes = DTypeSize(*dtype);
  for (const json& extent : shape) {
    if (!extent.is_number_unsigned()) return broken("has a broken shape");
    const auto value = extent.get<uint64_t>();
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        __builtin_mul_overflow(bytes, value, &bytes)) {
      return broken("has an impossible size");
    }
    placed.shape.push_back(static_cast<int64_t>(value));
  }
  const json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return broken("has broken data_offsets");
  }
  placed.begin = offsets[0].get<uint64_t>();
  placed.end = offsets[1].get<uint64_t>();
  if (placed.begin > placed.end || placed.end > data_bytes || placed.end - placed.begin != bytes) {
    return broken(absl::StrCat("takes the bytes ", placed.begin, " to ", placed.end, " of ",
                               data_bytes, " for a shape of ", bytes, " bytes"));
  }
  return placed;
}

absl::StatusOr<json> ParseHeader(std::string_view text) {
  std::vector<std::string> keys;
  const auto collect = [&keys](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1) keys.push_back(parsed.get<std::string>());
    return true;
  };
  json header = json::parse(text.begin(), text.end(), collect, /*allow_exceptions=*/false);
  if (!header.is_object()) return BundleError("the header is not a JSON object");
  if (header.size() != keys.size()) return BundleError("the header names a tensor twice");
  return header;
}

absl::StatusOr<json> ReadMetadata(const json& header) {
  const auto found = header.find(kMetadata);
  if (found == header.end()) return json::object();
  if (!found->is_object()) return BundleError("the metadata are not a JSON object");
  const auto text = found->find(kMetadataKey);
  if (text == found->end()) return json::object();
  if (!text->is_string()) return BundleError("the metadata are not one string");
  json metadata = json::parse(text->get_ref<const std::string&>(), nullptr,
                              /*allow_exceptions=*/false);
  if (!metadata.is_object()) return BundleError("the metadata are not a JSON object");
  return metadata;
}

/// The tensors must cover the data exactly: no hole, no overlap.
absl::Status CheckCover(std::vector<Placed>& tensors, uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const Placed& placed : tensors) {
    if (placed.begin != covered) {
      return BundleError(absl::StrCat("the tensor ", Absl(Quoted(placed.name)), " starts at byte ",
                                      placed.begin, " of the data, not at ", covered));
    }
    covered = placed.end;
  }
  if (covered == data_bytes) return absl::OkStatus();
  return BundleError(absl::StrCat("the tensors take ", covered, " of ", data_bytes, " bytes"));
}

}  // namespace

std::string SerializeBundle(const TensorBundle& bundle) {
  // Texts that are not UTF-8 are mended rather than thrown at the caller.
  const auto dump = [](const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  };
  json header = json::object();
  header[kMetadata] = {{kMetadataKey, dump(bundle.metadata)}};
  uint64_t offset = 0;
  const auto order = InFileOrder(bundle);
  for (const auto* entry : order) {
    const HostTensor& tensor = entry->second;
    const uint64_t end = offset + tensor.size_bytes();
    // A tensor that was never filled has no elements, whatever its shape.
    const std::vector<int64_t> shape =
        tensor.data() == nullptr ? std::vector<int64_t>{0} : tensor.shape();
    header[entry->first] = {
        {"dtype", NameOf(tensor.dtype())}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dump(header);
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  std::string bytes;
  bytes.reserve(kLengthBytes + text.size() + offset);
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>((text.size() >> (8 * i)) & 0xff));
  }
  bytes += text;
  for (const auto* entry : order) {
    bytes.append(reinterpret_cast<const char*>(entry->second.data()), entry->second.size_bytes());
  }
  return bytes;
}

absl::StatusOr<TensorBundle> ParseBundle(std::string_view bytes) {
  if (bytes.size() < kLengthBytes) return BundleError("shorter than its length field");
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) {
    length = (length << 8) | static_cast<uint8_t>(bytes[i]);
  }
  if (length > kLongestHeader || length > bytes.size() - kLengthBytes) {
    return BundleError(absl::StrCat("a header of ", length, " bytes in ", bytes.size()));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const json header, ParseHeader(bytes.substr(kLengthBytes, length)));
  const std::string_view data = bytes.substr(kLengthBytes + length);
  TensorBundle bundle;
  PORTOLAN_ASSIGN_OR_RETURN(bundle.metadata, ReadMetadata(header));
  std::vector<Placed> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) continue;
    PORTOLAN_ASSIGN_OR_RETURN(Placed placed, ReadPlace(name, entry, data.size()));
    tensors.push_back(std::move(placed));
  }
  PORTOLAN_RETURN_IF_ERROR(CheckCover(tensors, data.size()));
  for (Placed& placed : tensors) {
    const SharedBytes copy =
        SharedBytes::CopyOf(data.substr(placed.begin, placed.end - placed.begin));
    bundle.tensors[placed.name] = HostTensor(placed.dtype, std::move(placed.shape), copy.owner());
  }
  return bundle;
}

}  // namespace portolan
