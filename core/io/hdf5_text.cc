// Strings and attributes.
#include <algorithm>
#include <array>

#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/hdf5.h"
#include "core/io/lzf.h"

namespace portolan::hdf5 {
namespace {

constexpr size_t kLongestFixedString = size_t{1} << 16;
constexpr int64_t kMostStrings = int64_t{1} << 31;
constexpr hssize_t kMostAttributeValues = hssize_t{1} << 20;
// Strings are read in batches, so that a fixed length times the count never becomes one buffer.
constexpr int64_t kBatchBytes = int64_t{16} << 20;

// One fixed-length string, without its padding.
std::string Unpadded(const char* bytes, size_t size, H5T_str_t padding) {
  size_t length = size;
  if (padding == H5T_STR_NULLTERM) {
    length = std::find(bytes, bytes + size, '\0') - bytes;
  } else {
    const char pad = padding == H5T_STR_SPACEPAD ? ' ' : '\0';
    while (length > 0 && bytes[length - 1] == pad) --length;
  }
  return std::string(bytes, length);
}

// The string type inside a dataset's type: the type itself, or that of the member in question.
Handle StringType(const Dataset& dataset) {
  Handle type(H5Dget_type(dataset.handle->id()));
  if (dataset.member.empty()) return type;
  return Handle(H5Tget_member_type(
      type.id(), static_cast<unsigned>(H5Tget_member_index(type.id(), dataset.member.c_str()))));
}

absl::Status ReadStringBatch(const Dataset& dataset, hid_t string_type, int64_t start,
                             int64_t count, std::vector<std::string>& out) {
  const bool variable = H5Tis_variable_str(string_type) > 0;
  const size_t size = variable ? sizeof(char*) : H5Tget_size(string_type);
  Handle type(dataset.member.empty() ? H5Tcopy(string_type) : H5Tcreate(H5T_COMPOUND, size));
  if (!dataset.member.empty()) H5Tinsert(type.id(), dataset.member.c_str(), 0, string_type);
  const Handle space(H5Dget_space(dataset.handle->id()));
  const hsize_t at = static_cast<hsize_t>(start);
  const hsize_t extent = static_cast<hsize_t>(count);
  const Handle memory(dataset.shape.empty() ? H5Screate(H5S_SCALAR)
                                            : H5Screate_simple(1, &extent, nullptr));
  if (!dataset.shape.empty()) {
    H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, &at, nullptr, &extent, nullptr);
  }
  std::vector<char> buffer(size * static_cast<size_t>(count));
  const LzfChunkSize chunk(dataset.chunk_bytes);
  const bool read = H5Dread(dataset.handle->id(), type.id(), memory.id(), space.id(), H5P_DEFAULT,
                            buffer.data()) >= 0;
  const H5T_str_t padding = H5Tget_strpad(string_type);
  for (int64_t i = 0; read && i < count; ++i) {
    if (!variable) {
      out.push_back(Unpadded(buffer.data() + size * i, size, padding));
      continue;
    }
    const char* text = reinterpret_cast<char* const*>(buffer.data())[i];
    out.emplace_back(text == nullptr ? "" : text);
  }
  if (variable && read) {
    H5Dvlen_reclaim(type.id(), memory.id(), H5P_DEFAULT, buffer.data());
  }
  if (read) return absl::OkStatus();
  return InvalidField(dataset.field, "text that cannot be read: " + LastError(),
                      "The file may be truncated or damaged: copy or write it again.");
}

// Opens an attribute of a bounded number of values.
Handle OpenAttribute(const Handle& object, const char* name) {
  if (H5Aexists(object.id(), name) <= 0) {
    LastError();
    return Handle();
  }
  Handle attribute(H5Aopen(object.id(), name, H5P_DEFAULT));
  const Handle space(attribute.valid() ? H5Aget_space(attribute.id()) : -1);
  const hssize_t points = space.valid() ? H5Sget_simple_extent_npoints(space.id()) : -1;
  if (points < 0 || points > kMostAttributeValues) return Handle();
  return attribute;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadStrings(const Dataset& dataset) {
  const Gate gate;
  const Handle type = StringType(dataset);
  if (dataset.type.kind != ValueKind::kString || dataset.shape.size() > 1 ||
      dataset.size() > kMostStrings || H5Tget_size(type.id()) > kLongestFixedString) {
    return InvalidField(dataset.field, "no list of names",
                        "Write the file with anndata (adata.write_h5ad).");
  }
  const int64_t count = dataset.size();
  const int64_t batch =
      std::max<int64_t>(1, kBatchBytes / static_cast<int64_t>(H5Tget_size(type.id())));
  std::vector<std::string> out;
  for (int64_t start = 0; start < count; start += batch) {
    PORTOLAN_RETURN_IF_ERROR(
        ReadStringBatch(dataset, type.id(), start, std::min(batch, count - start), out));
  }
  return out;
}

bool HasAttribute(const Handle& object, const char* name) {
  const Gate gate;
  return OpenAttribute(object, name).valid();
}

std::optional<std::vector<std::string>> StringsAttribute(const Handle& object, const char* name) {
  const Gate gate;
  const Handle attribute = OpenAttribute(object, name);
  if (!attribute.valid()) return std::nullopt;
  const Handle type(H5Aget_type(attribute.id()));
  const Handle space(H5Aget_space(attribute.id()));
  const auto count = static_cast<size_t>(H5Sget_simple_extent_npoints(space.id()));
  // An empty list is written as an array of no numbers.
  if (count == 0) return std::vector<std::string>();
  if (H5Tget_class(type.id()) != H5T_STRING) return std::nullopt;
  const bool variable = H5Tis_variable_str(type.id()) > 0;
  const size_t size = variable ? sizeof(char*) : H5Tget_size(type.id());
  if (size > kLongestFixedString || size * count > static_cast<size_t>(kBatchBytes)) {
    return std::nullopt;
  }
  std::vector<char> buffer(size * count);
  if (H5Aread(attribute.id(), type.id(), buffer.data()) < 0) {
    LastError();
    return std::nullopt;
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) {
    if (variable) {
      const char* text = reinterpret_cast<char* const*>(buffer.data())[i];
      out.emplace_back(text == nullptr ? "" : text);
    } else {
      out.push_back(Unpadded(buffer.data() + size * i, size, H5Tget_strpad(type.id())));
    }
  }
  if (variable) H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, buffer.data());
  return out;
}

std::optional<std::string> StringAttribute(const Handle& object, const char* name) {
  auto strings = StringsAttribute(object, name);
  if (!strings.has_value() || strings->size() != 1) return std::nullopt;
  return std::move(strings->front());
}

std::optional<std::vector<int64_t>> IntegersAttribute(const Handle& object, const char* name) {
  const Gate gate;
  const Handle attribute = OpenAttribute(object, name);
  if (!attribute.valid()) return std::nullopt;
  const Handle type(H5Aget_type(attribute.id()));
  const Handle space(H5Aget_space(attribute.id()));
  const H5T_class_t type_class = H5Tget_class(type.id());
  if (type_class != H5T_INTEGER && type_class != H5T_ENUM) return std::nullopt;
  std::vector<int64_t> out(static_cast<size_t>(H5Sget_simple_extent_npoints(space.id())));
  if (H5Aread(attribute.id(), H5T_NATIVE_INT64, out.data()) < 0) {
    LastError();
    return std::nullopt;
  }
  return out;
}

}  // namespace portolan::hdf5
