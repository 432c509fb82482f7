#include "core/io/h5ad_encoding.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/hdf5_write.h"

namespace portolan::h5ad {
namespace {

using hdf5::Handle;
using nlohmann::json;

constexpr int kDeepest = 64;
constexpr char kElementVersion[] = "0.2.0";
constexpr char kDictVersion[] = "0.1.0";

template <typename T>
absl::Status WriteScalar(const Handle& parent, const std::string& name, T value) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset, hdf5::WriteNumbers<T>(parent, name, {}, &value));
  return SetEncoding(dataset, "numeric-scalar", kElementVersion);
}

template <typename T>
absl::Status WriteList(const Handle& parent, const std::string& name, const json& list) {
  // Not std::vector: its bool has no array behind it.
  const auto values = std::make_unique<T[]>(list.size());
  for (size_t i = 0; i < list.size(); ++i) values[i] = list[i].get<T>();
  const int64_t shape[] = {static_cast<int64_t>(list.size())};
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset,
                            hdf5::WriteNumbers<T>(parent, name, shape, values.get()));
  return SetEncoding(dataset, "array", kElementVersion);
}

bool All(const json& list, bool (json::*is)() const noexcept) {
  return std::all_of(list.begin(), list.end(), [&](const json& item) { return (item.*is)(); });
}

bool FitsInt64(const json& item) {
  return item.is_number_integer() &&
         (!item.is_number_unsigned() ||
          item.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
}

// A name that HDF5 takes for one link.
std::string Key(const std::string& key) {
  std::string out = key;
  std::replace(out.begin(), out.end(), '/', '_');
  return out.empty() || out == "." ? "_" + out : out;
}

absl::Status Write(const Handle& parent, const std::string& name, const json& value, int depth);

absl::Status WriteDict(const Handle& parent, const std::string& name, const json& value,
                       int depth) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::CreateGroup(parent, name));
  PORTOLAN_RETURN_IF_ERROR(SetEncoding(group, "dict", kDictVersion));
  size_t index = 0;
  for (const auto& item : value.items()) {
    const std::string key = value.is_array() ? std::to_string(index++) : Key(item.key());
    PORTOLAN_RETURN_IF_ERROR(Write(group, key, item.value(), depth + 1));
  }
  return absl::OkStatus();
}

absl::Status WriteArrayValue(const Handle& parent, const std::string& name, const json& value,
                             int depth) {
  if (value.empty()) return WriteList<double>(parent, name, value);
  if (All(value, &json::is_string)) {
    return WriteStringArray(parent, name, value.get<std::vector<std::string>>());
  }
  if (All(value, &json::is_boolean)) return WriteList<bool>(parent, name, value);
  if (std::all_of(value.begin(), value.end(), FitsInt64)) {
    return WriteList<int64_t>(parent, name, value);
  }
  if (All(value, &json::is_number)) return WriteList<double>(parent, name, value);
  return WriteDict(parent, name, value, depth);
}

absl::Status Write(const Handle& parent, const std::string& name, const json& value, int depth) {
  if (depth > kDeepest) {
    return InvalidField(name, "nested more than 64 levels deep", "Write a flatter dict.");
  }
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(parent, name));
  switch (value.type()) {
    case json::value_t::object:
      return WriteDict(parent, name, value, depth);
    case json::value_t::array:
      return WriteArrayValue(parent, name, value, depth);
    case json::value_t::string: {
      PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset,
                                hdf5::WriteString(parent, name, value.get<std::string>()));
      return SetEncoding(dataset, "string", kElementVersion);
    }
    case json::value_t::boolean:
      return WriteScalar(parent, name, value.get<bool>());
    case json::value_t::number_float:
      return WriteScalar(parent, name, value.get<double>());
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
      return FitsInt64(value) ? WriteScalar(parent, name, value.get<int64_t>())
                              : WriteScalar(parent, name, value.get<uint64_t>());
    default:
      return absl::OkStatus();
  }
}

template <typename T>
absl::StatusOr<Handle> WriteCodesAs(const Handle& group, std::span<const int32_t> codes) {
  const std::vector<T> narrow(codes.begin(), codes.end());
  const int64_t shape[] = {static_cast<int64_t>(codes.size())};
  return hdf5::WriteNumbers<T>(group, "codes", shape, narrow.data());
}

}  // namespace

absl::Status SetEncoding(const Handle& object, const std::string& type,
                         const std::string& version) {
  PORTOLAN_RETURN_IF_ERROR(hdf5::SetAttribute(object, "encoding-type", type));
  return hdf5::SetAttribute(object, "encoding-version", version);
}

absl::StatusOr<Handle> OpenOrCreateDict(const Handle& parent, const std::string& name) {
  const hdf5::Gate gate;
  if (hdf5::KindOf(parent, name) != hdf5::ObjectKind::kAbsent) {
    return hdf5::OpenGroup(parent, name, name);
  }
  PORTOLAN_ASSIGN_OR_RETURN(Handle group, hdf5::CreateGroup(parent, name));
  PORTOLAN_RETURN_IF_ERROR(SetEncoding(group, "dict", kDictVersion));
  return group;
}

absl::Status WriteStringArray(const Handle& parent, const std::string& name,
                              std::span<const std::string> values) {
  const hdf5::Gate gate;
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(parent, name));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset, hdf5::WriteStrings(parent, name, values));
  return SetEncoding(dataset, "string-array", kElementVersion);
}

absl::Status WriteArray(const Handle& parent, const std::string& name, int64_t rows, int64_t width,
                        const float* values) {
  const hdf5::Gate gate;
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(parent, name));
  const int64_t shape[] = {rows, width};
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset, hdf5::WriteNumbers(parent, name, shape, values));
  return MarkArray(dataset);
}

absl::Status MarkArray(const Handle& dataset) {
  return SetEncoding(dataset, "array", kElementVersion);
}

absl::StatusOr<Handle> WriteCodes(const Handle& parent, const std::string& name,
                                  std::span<const int32_t> codes, int64_t categories,
                                  bool ordered) {
  const hdf5::Gate gate;
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(parent, name));
  PORTOLAN_ASSIGN_OR_RETURN(Handle group, hdf5::CreateGroup(parent, name));
  PORTOLAN_RETURN_IF_ERROR(SetEncoding(group, "categorical", kElementVersion));
  PORTOLAN_RETURN_IF_ERROR(hdf5::SetAttribute(group, "ordered", ordered));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset,
                            categories <= 127     ? WriteCodesAs<int8_t>(group, codes)
                            : categories <= 32767 ? WriteCodesAs<int16_t>(group, codes)
                                                  : WriteCodesAs<int32_t>(group, codes));
  PORTOLAN_RETURN_IF_ERROR(SetEncoding(dataset, "array", kElementVersion));
  return group;
}

absl::Status WriteJson(const Handle& parent, const std::string& name, const json& value) {
  const hdf5::Gate gate;
  return Write(parent, name, value, 0);
}

}  // namespace portolan::h5ad
