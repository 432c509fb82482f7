#include "core/io/hdf5.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/heap_check.h"
#include "core/io/lzf.h"

namespace portolan::hdf5 {
namespace {

constexpr int64_t kLargestChunkBytes = int64_t{1} << 30;
constexpr size_t kDefaultChunkCache = size_t{1} << 20;

// No filter shrinks data by more: deflate reaches 1032, LZF 88. Scale-offset and n-bit store a
// constant chunk in a header, so they get more room.
constexpr double kMostShrinkage = 1100;
constexpr double kMostShrinkageOfBitPacking = 1e5;
constexpr double kAlwaysFine = 1 << 20;

std::recursive_mutex& GateMutex() {
  static auto* const mutex = new std::recursive_mutex;
  return *mutex;
}

// Once per process: no plugins from the file's say-so, and the LZF filter.
void PrepareLibrary() {
  H5open();
  H5PLset_loading_state(0);
  RegisterLzfFilter();
}

herr_t KeepInnermost(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr && error->desc[0] != '\0') {
    *static_cast<std::string*>(text) = error->desc;
  }
  return 0;
}

herr_t RefuseExternalLink(const char*, const char*, const char*, const char*, unsigned*, hid_t,
                          void*) {
  return -1;
}

// Link access that never leaves the file.
hid_t WithinFile() {
  static const hid_t plist = [] {
    const hid_t id = H5Pcreate(H5P_LINK_ACCESS);
    H5Pset_elink_cb(id, RefuseExternalLink, nullptr);
    return id;
  }();
  return plist;
}

absl::Status Damaged(const std::string& field) {
  return InvalidField(field, absl::StrCat("cannot be read: ", LastError()),
                      "The file may be truncated or damaged: copy or write it again.");
}

ValueKind KindOfType(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
    case H5T_BITFIELD:
      return ValueKind::kInteger;
    case H5T_FLOAT:
      return ValueKind::kFloat;
    case H5T_STRING:
      return ValueKind::kString;
    case H5T_COMPOUND:
      return ValueKind::kCompound;
    case H5T_ENUM: {
      // h5py's booleans; other enumerations are read as their numbers.
      if (H5Tget_nmembers(type) != 2) return ValueKind::kInteger;
      char* const name = H5Tget_member_name(type, 0);
      const bool boolean = name != nullptr && (std::string(name) == "FALSE");
      H5free_memory(name);
      return boolean ? ValueKind::kBoolean : ValueKind::kInteger;
    }
    default:
      return ValueKind::kOther;
  }
}

ElementType Describe(hid_t type) {
  ElementType out;
  out.kind = KindOfType(type);
  out.bytes = H5Tget_size(type);
  if (H5Tget_class(type) == H5T_INTEGER) out.is_signed = H5Tget_sign(type) == H5T_SGN_2;
  if (H5Tget_class(type) == H5T_ENUM) out.is_signed = true;
  return out;
}

absl::StatusOr<std::vector<int64_t>> ShapeOf(hid_t space, const std::string& field) {
  const H5S_class_t space_class = H5Sget_simple_extent_type(space);
  if (space_class == H5S_SCALAR) return std::vector<int64_t>();
  const int rank = space_class == H5S_SIMPLE ? H5Sget_simple_extent_ndims(space) : -1;
  if (rank < 0 || rank > H5S_MAX_RANK) {
    return InvalidField(field, "a dataset without a shape", "Write the file again with anndata.");
  }
  std::array<hsize_t, H5S_MAX_RANK> dims{};
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  std::vector<int64_t> shape;
  double total = 1;
  for (int i = 0; i < rank; ++i) {
    total *= static_cast<double>(dims[i]);
    if (dims[i] > 0x7fffffffffff || total > 0x1p62) {
      return InvalidField(field, "a dataset of absurd dimensions", "Write the file again.");
    }
    shape.push_back(static_cast<int64_t>(dims[i]));
  }
  return shape;
}

// Refuses filters that are not built in, and an LZF filter that would make its buffers too small
// for the chunk (HDF5 does not look) or absurdly large; tells whether one packs bits.
absl::StatusOr<bool> CheckFilters(hid_t create_plist, double chunk_bytes,
                                  const std::string& field) {
  bool packs_bits = false;
  const int filters = H5Pget_nfilters(create_plist);
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    unsigned config = 0;
    std::array<unsigned, 8> values{};
    size_t value_count = values.size();
    std::array<char, 64> name{};
    const H5Z_filter_t filter =
        H5Pget_filter2(create_plist, static_cast<unsigned>(i), &flags, &value_count, values.data(),
                       name.size() - 1, name.data(), &config);
    if (filter < 0 || H5Zfilter_avail(filter) <= 0) {
      return InvalidField(field,
                          absl::StrCat("compressed with the HDF5 filter ", filter, " (",
                                       std::string(name.data()), "), which is not supported"),
                          "Write the file with compression=\"gzip\", \"lzf\" or none.");
    }
    // Newer versions of HDF5 leave the parameter out for strings.
    if (filter == kLzfFilter && value_count > kLzfChunkSizeValue &&
        (values[kLzfChunkSizeValue] < chunk_bytes ||
         values[kLzfChunkSizeValue] > 2 * chunk_bytes)) {
      return Damaged(field);
    }
    packs_bits |=
        filter == H5Z_FILTER_NBIT || filter == H5Z_FILTER_SCALEOFFSET || filter == H5Z_FILTER_SZIP;
  }
  return packs_bits;
}

// Fills in the chunk shape; refuses data kept elsewhere or out of proportion to what is stored.
absl::Status CheckLayout(Dataset& dataset) {
  const hid_t id = dataset.handle->id();
  const Handle plist(H5Dget_create_plist(id));
  const H5D_layout_t layout = H5Pget_layout(plist.id());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(plist.id()) > 0) {
    return InvalidField(dataset.field, "a dataset whose values are kept in other files",
                        "Write the file again with all values in it.");
  }
  double chunk_bytes = static_cast<double>(dataset.type.bytes);
  if (layout == H5D_CHUNKED) {
    std::array<hsize_t, H5S_MAX_RANK> dims{};
    const int rank = H5Pget_chunk(plist.id(), H5S_MAX_RANK, dims.data());
    if (rank < 0 || static_cast<size_t>(rank) != dataset.shape.size()) {
      return Damaged(dataset.field);
    }
    for (int i = 0; i < rank; ++i) {
      dataset.chunk.push_back(static_cast<int64_t>(dims[i]));
      chunk_bytes *= static_cast<double>(dims[i]);
    }
    if (chunk_bytes > static_cast<double>(kLargestChunkBytes)) {
      return InvalidField(dataset.field, "chunks of more than 1 GiB",
                          "Write the file again with chunks of about 1 MB.");
    }
    dataset.chunk_bytes = static_cast<size_t>(chunk_bytes);
  }
  PORTOLAN_ASSIGN_OR_RETURN(const bool packs_bits,
                            CheckFilters(plist.id(), chunk_bytes, dataset.field));
  const double declared =
      static_cast<double>(dataset.size()) * static_cast<double>(dataset.type.bytes);
  const double stored = static_cast<double>(H5Dget_storage_size(id));
  if (declared > kAlwaysFine &&
      declared > stored * (packs_bits ? kMostShrinkageOfBitPacking : kMostShrinkage)) {
    return InvalidField(dataset.field,
                        absl::StrCat("a dataset that declares ", dataset.size(),
                                     " values but stores only ", stored, " bytes"),
                        "The file may be truncated or damaged: copy or write it again.");
  }
  return absl::OkStatus();
}

absl::StatusOr<Dataset> Wrap(Handle handle, const std::string& field) {
  Dataset out;
  out.field = field;
  out.handle = std::make_shared<Handle>(std::move(handle));
  const Handle type(H5Dget_type(out.handle->id()));
  const Handle space(H5Dget_space(out.handle->id()));
  if (!type.valid() || !space.valid()) return Damaged(field);
  out.type = Describe(type.id());
  PORTOLAN_ASSIGN_OR_RETURN(out.shape, ShapeOf(space.id(), field));
  PORTOLAN_RETURN_IF_ERROR(CheckLayout(out));
  return out;
}

// Large chunks need a cache of their size: read in pieces, each would be expanded once per piece.
Handle AccessFor(hid_t dataset) {
  Handle access(H5Pcreate(H5P_DATASET_ACCESS));
  H5Pset_elink_cb(access.id(), RefuseExternalLink, nullptr);
  const Handle plist(H5Dget_create_plist(dataset));
  const Handle type(H5Dget_type(dataset));
  if (H5Pget_layout(plist.id()) != H5D_CHUNKED) return access;
  std::array<hsize_t, H5S_MAX_RANK> dims{};
  const int rank = H5Pget_chunk(plist.id(), H5S_MAX_RANK, dims.data());
  double bytes = static_cast<double>(H5Tget_size(type.id()));
  for (int i = 0; i < rank; ++i) bytes *= static_cast<double>(dims[i]);
  if (bytes > static_cast<double>(kDefaultChunkCache) &&
      bytes <= static_cast<double>(kLargestChunkBytes)) {
    H5Pset_chunk_cache(access.id(), 521, static_cast<size_t>(bytes), 1.0);
  }
  return access;
}

template <typename T>
hid_t NativeType();
template <>
hid_t NativeType<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
hid_t NativeType<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t NativeType<int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t NativeType<int64_t>() {
  return H5T_NATIVE_INT64;
}
template <>
hid_t NativeType<uint64_t>() {
  return H5T_NATIVE_UINT64;
}

// The type in memory: `element`, or a compound of that one member.
Handle MemoryType(const Dataset& dataset, hid_t element) {
  if (dataset.member.empty()) return Handle(H5Tcopy(element));
  Handle compound(H5Tcreate(H5T_COMPOUND, H5Tget_size(element)));
  H5Tinsert(compound.id(), dataset.member.c_str(), 0, element);
  return compound;
}

}  // namespace

Gate::Gate() : lock_(GateMutex()) {
  static const bool prepared = (PrepareLibrary(), true);
  static_cast<void>(prepared);
  // The setting belongs to the thread where the library is built thread-safe.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    Close();
    id_ = std::exchange(other.id_, -1);
  }
  return *this;
}

void Handle::Close() {
  if (id_ < 0) return;
  const Gate gate;
  H5Idec_ref(std::exchange(id_, -1));
}

std::string LastError() {
  const Gate gate;
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, KeepInnermost, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "HDF5 gives no reason" : text;
}

absl::StatusOr<Handle> OpenFile(const std::string& path) {
  PORTOLAN_RETURN_IF_ERROR(CheckGlobalHeaps(path));
  const Gate gate;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  // Reading needs no lock, and shared folders often have none.
  H5Pset_file_locking(access.id(), false, true);
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()));
  if (!file.valid()) {
    return InvalidField("file", absl::StrCat(path, " cannot be opened as HDF5: ", LastError()),
                        "The file may be truncated, damaged, or still being written: copy or "
                        "upload it again.");
  }
  return file;
}

ObjectKind KindOf(const Handle& at, const std::string& path) {
  const Gate gate;
  std::string so_far;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return ObjectKind::kAbsent;
    absl::StrAppend(&so_far, so_far.empty() ? "" : "/", part);
    if (H5Lexists(at.id(), so_far.c_str(), WithinFile()) <= 0) {
      LastError();
      return ObjectKind::kAbsent;
    }
  }
  H5O_info_t info;
  if (H5Oget_info_by_name2(at.id(), path.c_str(), &info, H5O_INFO_BASIC, WithinFile()) < 0) {
    LastError();
    return ObjectKind::kOther;
  }
  if (info.type == H5O_TYPE_GROUP) return ObjectKind::kGroup;
  return info.type == H5O_TYPE_DATASET ? ObjectKind::kDataset : ObjectKind::kOther;
}

absl::StatusOr<std::vector<std::string>> Children(const Handle& group) {
  const Gate gate;
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  if (H5Literate(group.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &names) < 0) {
    return Damaged("file");
  }
  return names;
}

absl::StatusOr<Handle> OpenGroup(const Handle& at, const std::string& path,
                                 const std::string& field) {
  const Gate gate;
  const ObjectKind kind = KindOf(at, path);
  if (kind != ObjectKind::kGroup) {
    return InvalidField(field,
                        kind == ObjectKind::kAbsent    ? "absent from the file"
                        : kind == ObjectKind::kDataset ? "a dataset where a group is expected"
                                                       : "not a group of this file",
                        "Write the file with anndata (adata.write_h5ad).");
  }
  Handle group(H5Gopen2(at.id(), path.c_str(), H5P_DEFAULT));
  if (!group.valid()) return Damaged(field);
  return group;
}

int64_t Dataset::size() const {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return size;
}

absl::StatusOr<Dataset> OpenDataset(const Handle& at, const std::string& path,
                                    const std::string& field) {
  const Gate gate;
  const ObjectKind kind = KindOf(at, path);
  if (kind != ObjectKind::kDataset) {
    return InvalidField(field,
                        kind == ObjectKind::kAbsent  ? "absent from the file"
                        : kind == ObjectKind::kGroup ? "a group where a dataset is expected"
                                                     : "not a dataset of this file",
                        "Write the file with anndata (adata.write_h5ad).");
  }
  Handle first(H5Dopen2(at.id(), path.c_str(), H5P_DEFAULT));
  if (!first.valid()) return Damaged(field);
  const Handle access = AccessFor(first.id());
  first.Close();
  Handle dataset(H5Dopen2(at.id(), path.c_str(), access.id()));
  if (!dataset.valid()) return Damaged(field);
  return Wrap(std::move(dataset), field);
}

absl::StatusOr<Dataset> OpenReferenced(const Handle& object, const char* attribute,
                                       const std::string& field) {
  const Gate gate;
  const Handle attr(H5Aopen(object.id(), attribute, H5P_DEFAULT));
  const Handle type(attr.valid() ? H5Aget_type(attr.id()) : -1);
  const Handle space(attr.valid() ? H5Aget_space(attr.id()) : -1);
  hobj_ref_t reference = 0;
  if (!type.valid() || H5Tequal(type.id(), H5T_STD_REF_OBJ) <= 0 ||
      H5Sget_simple_extent_npoints(space.id()) != 1 ||
      H5Aread(attr.id(), H5T_STD_REF_OBJ, &reference) < 0) {
    return Damaged(field);
  }
  Handle target(H5Rdereference2(object.id(), H5P_DEFAULT, H5R_OBJECT, &reference));
  if (!target.valid() || H5Iget_type(target.id()) != H5I_DATASET) return Damaged(field);
  return Wrap(std::move(target), field);
}

absl::StatusOr<std::vector<std::string>> Members(const Dataset& dataset) {
  const Gate gate;
  const Handle type(H5Dget_type(dataset.handle->id()));
  const int count = H5Tget_class(type.id()) == H5T_COMPOUND ? H5Tget_nmembers(type.id()) : -1;
  if (count < 0) return Damaged(dataset.field);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    char* const name = H5Tget_member_name(type.id(), i);
    if (name != nullptr) names.emplace_back(name);
    H5free_memory(name);
  }
  return names;
}

absl::StatusOr<Dataset> Member(const Dataset& dataset, const std::string& name) {
  const Gate gate;
  const Handle type(H5Dget_type(dataset.handle->id()));
  const int index = H5Tget_member_index(type.id(), name.c_str());
  const Handle element(index < 0 ? -1 : H5Tget_member_type(type.id(), index));
  if (!element.valid()) return Damaged(dataset.field);
  Dataset out = dataset;
  out.member = name;
  out.field = absl::StrCat(dataset.field, "/", name);
  out.type = Describe(element.id());
  return out;
}

template <typename T>
absl::Status ReadBox(const Dataset& dataset, std::span<const int64_t> start,
                     std::span<const int64_t> count, T* out) {
  const Gate gate;
  const LzfChunkSize chunk(dataset.chunk_bytes);
  const Handle type = MemoryType(dataset, NativeType<T>());
  const Handle space(H5Dget_space(dataset.handle->id()));
  std::vector<hsize_t> at(start.begin(), start.end());
  std::vector<hsize_t> extent(count.begin(), count.end());
  const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr));
  if (start.size() != dataset.shape.size() || count.size() != dataset.shape.size() ||
      H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, at.data(), nullptr, extent.data(), nullptr) <
          0 ||
      H5Dread(dataset.handle->id(), type.id(), memory.id(), space.id(), H5P_DEFAULT, out) < 0) {
    return Damaged(dataset.field);
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<std::vector<T>> ReadAll(const Dataset& dataset) {
  const Gate gate;
  const LzfChunkSize chunk(dataset.chunk_bytes);
  std::vector<T> out(dataset.size());
  const Handle type = MemoryType(dataset, NativeType<T>());
  if (!out.empty() &&
      H5Dread(dataset.handle->id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()) < 0) {
    return Damaged(dataset.field);
  }
  return out;
}

template absl::Status ReadBox(const Dataset&, std::span<const int64_t>, std::span<const int64_t>,
                              float*);
template absl::Status ReadBox(const Dataset&, std::span<const int64_t>, std::span<const int64_t>,
                              double*);
template absl::Status ReadBox(const Dataset&, std::span<const int64_t>, std::span<const int64_t>,
                              int32_t*);
template absl::Status ReadBox(const Dataset&, std::span<const int64_t>, std::span<const int64_t>,
                              int64_t*);
template absl::StatusOr<std::vector<float>> ReadAll(const Dataset&);
template absl::StatusOr<std::vector<double>> ReadAll(const Dataset&);
template absl::StatusOr<std::vector<int32_t>> ReadAll(const Dataset&);
template absl::StatusOr<std::vector<int64_t>> ReadAll(const Dataset&);
template absl::StatusOr<std::vector<uint64_t>> ReadAll(const Dataset&);

}  // namespace portolan::hdf5
