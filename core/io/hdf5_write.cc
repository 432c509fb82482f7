#include "core/io/hdf5_write.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/lzf.h"

namespace portolan::hdf5 {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::UnknownError(absl::StrCat(what, ": ", LastError()));
}

// FALSE and TRUE over one byte, as h5py stores booleans.
Handle BooleanType() {
  Handle type(H5Tenum_create(H5T_STD_I8LE));
  const int8_t no = 0;
  const int8_t yes = 1;
  H5Tenum_insert(type.id(), "FALSE", &no);
  H5Tenum_insert(type.id(), "TRUE", &yes);
  return type;
}

Handle StringType() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

template <typename T>
Handle FileType() {
  if constexpr (std::is_same_v<T, bool>) {
    return BooleanType();
  } else if constexpr (std::is_same_v<T, float>) {
    return Handle(H5Tcopy(H5T_IEEE_F32LE));
  } else if constexpr (std::is_same_v<T, double>) {
    return Handle(H5Tcopy(H5T_IEEE_F64LE));
  } else if constexpr (std::is_same_v<T, int8_t>) {
    return Handle(H5Tcopy(H5T_STD_I8LE));
  } else if constexpr (std::is_same_v<T, int16_t>) {
    return Handle(H5Tcopy(H5T_STD_I16LE));
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return Handle(H5Tcopy(H5T_STD_I32LE));
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return Handle(H5Tcopy(H5T_STD_I64LE));
  } else {
    static_assert(std::is_same_v<T, uint64_t>);
    return Handle(H5Tcopy(H5T_STD_U64LE));
  }
}

// A scalar for an empty shape.
Handle Space(std::span<const int64_t> shape) {
  if (shape.empty()) return Handle(H5Screate(H5S_SCALAR));
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return Handle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
}

// The type in memory is the type in the file: the library's hosts are little-endian.
absl::StatusOr<Handle> WriteDataset(const Handle& parent, const std::string& name,
                                    const Handle& type, const Handle& space, const void* values) {
  Handle dataset(H5Dcreate2(parent.id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT,
                            H5P_DEFAULT, H5P_DEFAULT));
  if (!dataset.valid()) return Failed(absl::StrCat("creating ", name));
  if (H5Sget_simple_extent_npoints(space.id()) > 0 &&
      H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    return Failed(absl::StrCat("writing ", name));
  }
  return dataset;
}

absl::Status WriteAttribute(const Handle& object, const char* name, const Handle& type,
                            const Handle& space, const void* values) {
  PORTOLAN_RETURN_IF_ERROR(RemoveAttribute(object, name));
  const Handle attribute(
      H5Acreate2(object.id(), name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT));
  const bool empty = H5Sget_simple_extent_npoints(space.id()) == 0;
  if (!attribute.valid() || (!empty && H5Awrite(attribute.id(), type.id(), values) < 0)) {
    return Failed(absl::StrCat("writing the attribute ", name));
  }
  return absl::OkStatus();
}

// The largest chunk among the datasets at and below an object.
size_t LargestChunk(const Handle& object) {
  const auto measure = [](hid_t at, const char* name, const H5O_info_t* info,
                          void* largest) -> herr_t {
    if (info->type != H5O_TYPE_DATASET) return 0;
    const Handle dataset(H5Dopen2(at, name, H5P_DEFAULT));
    const Handle plist(dataset.valid() ? H5Dget_create_plist(dataset.id()) : -1);
    const Handle type(dataset.valid() ? H5Dget_type(dataset.id()) : -1);
    if (!plist.valid() || !type.valid() || H5Pget_layout(plist.id()) != H5D_CHUNKED) return 0;
    std::array<hsize_t, H5S_MAX_RANK> dims{};
    const int rank = H5Pget_chunk(plist.id(), H5S_MAX_RANK, dims.data());
    double bytes = static_cast<double>(H5Tget_size(type.id()));
    for (int i = 0; i < rank; ++i) bytes *= static_cast<double>(dims[i]);
    auto& most = *static_cast<size_t*>(largest);
    if (bytes < 0x1p32) most = std::max(most, static_cast<size_t>(bytes));
    return 0;
  };
  size_t largest = 0;
  if (H5Ovisit2(object.id(), H5_INDEX_NAME, H5_ITER_INC, measure, &largest, H5O_INFO_BASIC) < 0) {
    LastError();
  }
  return largest;
}

std::vector<const char*> Pointers(std::span<const std::string> values) {
  std::vector<const char*> out;
  for (const std::string& value : values) out.push_back(value.c_str());
  return out;
}

}  // namespace

absl::StatusOr<Handle> CreateFile(const std::string& path) {
  const Gate gate;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_file_locking(access.id(), false, true);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.id()));
  if (!file.valid()) return Failed("creating the file");
  return file;
}

absl::Status CloseFile(Handle file) {
  const Gate gate;
  if (H5Fflush(file.id(), H5F_SCOPE_GLOBAL) < 0) return Failed("writing the file");
  return H5Fclose(file.Release()) < 0 ? Failed("closing the file") : absl::OkStatus();
}

absl::StatusOr<Handle> CreateGroup(const Handle& parent, const std::string& name) {
  const Gate gate;
  Handle group(H5Gcreate2(parent.id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  if (!group.valid()) return Failed(absl::StrCat("creating ", name));
  return group;
}

absl::StatusOr<Handle> OpenObject(const Handle& parent, const std::string& path) {
  const Gate gate;
  const ObjectKind kind = KindOf(parent, path);
  if (kind != ObjectKind::kGroup && kind != ObjectKind::kDataset) {
    return InvalidField(path, "not a group or dataset of the file itself",
                        "Write the file again with all data in it.");
  }
  Handle object(H5Oopen(parent.id(), path.c_str(), H5P_DEFAULT));
  if (!object.valid()) return Failed(absl::StrCat("opening ", path));
  return object;
}

absl::Status Remove(const Handle& parent, const std::string& name) {
  const Gate gate;
  if (H5Lexists(parent.id(), name.c_str(), H5P_DEFAULT) <= 0) return absl::OkStatus();
  if (H5Ldelete(parent.id(), name.c_str(), H5P_DEFAULT) < 0) {
    return Failed(absl::StrCat("replacing ", name));
  }
  return absl::OkStatus();
}

absl::Status Copy(const Handle& from, const std::string& path, const Handle& to,
                  const std::string& name) {
  const Gate gate;
  PORTOLAN_ASSIGN_OR_RETURN(const Handle object, OpenObject(from, path));
  return CopyObject(object, to, name);
}

absl::Status CopyObject(const Handle& object, const Handle& to, const std::string& name) {
  const Gate gate;
  const LzfChunkSize chunk(LargestChunk(object));
  if (H5Ocopy(object.id(), ".", to.id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT) < 0) {
    return Failed(absl::StrCat("copying ", name));
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<Handle> WriteNumbers(const Handle& parent, const std::string& name,
                                    std::span<const int64_t> shape, const T* values) {
  const Gate gate;
  return WriteDataset(parent, name, FileType<T>(), Space(shape), values);
}

template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const float*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const double*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const int8_t*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const int16_t*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const int32_t*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const int64_t*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const uint64_t*);
template absl::StatusOr<Handle> WriteNumbers(const Handle&, const std::string&,
                                             std::span<const int64_t>, const bool*);

absl::StatusOr<Handle> CreateFloats(const Handle& parent, const std::string& name, int64_t rows,
                                    int64_t width) {
  const Gate gate;
  const int64_t shape[] = {rows, width};
  Handle dataset(H5Dcreate2(parent.id(), name.c_str(), H5T_IEEE_F32LE, Space(shape).id(),
                            H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  if (!dataset.valid()) return Failed(absl::StrCat("creating ", name));
  return dataset;
}

absl::Status WriteRows(const Handle& dataset, int64_t first_row, int64_t width,
                       std::span<const float> values) {
  if (values.empty()) return absl::OkStatus();
  const Gate gate;
  const int64_t shape[] = {static_cast<int64_t>(values.size()) / width, width};
  const hsize_t start[] = {static_cast<hsize_t>(first_row), 0};
  const hsize_t count[] = {static_cast<hsize_t>(shape[0]), static_cast<hsize_t>(width)};
  const Handle memory = Space(shape);
  const Handle file(H5Dget_space(dataset.id()));
  if (H5Sselect_hyperslab(file.id(), H5S_SELECT_SET, start, nullptr, count, nullptr) < 0 ||
      H5Dwrite(dataset.id(), H5T_NATIVE_FLOAT, memory.id(), file.id(), H5P_DEFAULT, values.data()) <
          0) {
    return Failed("writing rows");
  }
  return absl::OkStatus();
}

absl::StatusOr<Handle> WriteStrings(const Handle& parent, const std::string& name,
                                    std::span<const std::string> values) {
  const Gate gate;
  const int64_t count = static_cast<int64_t>(values.size());
  const std::vector<const char*> pointers = Pointers(values);
  return WriteDataset(parent, name, StringType(), Space(std::span(&count, 1)), pointers.data());
}

absl::StatusOr<Handle> WriteString(const Handle& parent, const std::string& name,
                                   const std::string& value) {
  const Gate gate;
  const char* const pointer = value.c_str();
  return WriteDataset(parent, name, StringType(), Space({}), &pointer);
}

absl::StatusOr<Handle> WriteMember(const Dataset& member, const Handle& parent,
                                   const std::string& name) {
  const Gate gate;
  const Handle compound(H5Dget_type(member.handle->id()));
  const int index = H5Tget_member_index(compound.id(), member.member.c_str());
  Handle type(index < 0 ? -1 : H5Tget_member_type(compound.id(), static_cast<unsigned>(index)));
  if (!type.valid() || H5Tdetect_class(type.id(), H5T_VLEN) > 0 ||
      H5Tis_variable_str(type.id()) > 0) {
    return Failed(absl::StrCat("reading ", name));
  }
  const Handle memory(H5Tcreate(H5T_COMPOUND, H5Tget_size(type.id())));
  H5Tinsert(memory.id(), member.member.c_str(), 0, type.id());
  std::vector<char> buffer(H5Tget_size(type.id()) * static_cast<size_t>(member.size()));
  const LzfChunkSize chunk(member.chunk_bytes);
  if (H5Dread(member.handle->id(), memory.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer.data()) < 0) {
    return Failed(absl::StrCat("reading ", name));
  }
  std::vector<int64_t> shape = member.shape;
  if (H5Tget_class(type.id()) == H5T_ARRAY) {
    std::vector<hsize_t> dims(static_cast<size_t>(H5Tget_array_ndims(type.id())));
    H5Tget_array_dims2(type.id(), dims.data());
    shape.insert(shape.end(), dims.begin(), dims.end());
    type = Handle(H5Tget_super(type.id()));
  }
  return WriteDataset(parent, name, type, Space(shape), buffer.data());
}

absl::Status SetAttribute(const Handle& object, const char* name, const std::string& value) {
  const Gate gate;
  const char* const pointer = value.c_str();
  return WriteAttribute(object, name, StringType(), Space({}), &pointer);
}

absl::Status SetAttribute(const Handle& object, const char* name, bool value) {
  const Gate gate;
  return WriteAttribute(object, name, BooleanType(), Space({}), &value);
}

absl::Status SetAttribute(const Handle& object, const char* name,
                          std::span<const std::string> values) {
  const Gate gate;
  const int64_t count = static_cast<int64_t>(values.size());
  const std::vector<const char*> pointers = Pointers(values);
  return WriteAttribute(object, name, StringType(), Space(std::span(&count, 1)), pointers.data());
}

absl::Status RemoveAttribute(const Handle& object, const char* name) {
  const Gate gate;
  if (H5Aexists(object.id(), name) > 0 && H5Adelete(object.id(), name) < 0) {
    return Failed(absl::StrCat("replacing the attribute ", name));
  }
  return absl::OkStatus();
}

}  // namespace portolan::hdf5
