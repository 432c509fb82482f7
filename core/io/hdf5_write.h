#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/hdf5.h"

/// Writing through the HDF5 fence. A failure is kUnknown with HDF5's reason; the caller knows the
/// path and says it. Every function takes the gate. Parents and sources stay open in the caller.
namespace portolan::hdf5 {

/// Creates a file that must not exist yet.
absl::StatusOr<Handle> CreateFile(const std::string& path);

/// Writes out what is buffered and closes the file; all its objects must be closed.
absl::Status CloseFile(Handle file);

absl::StatusOr<Handle> CreateGroup(const Handle& parent, const std::string& name);

/// Opens a group or dataset for changing its attributes or links.
absl::StatusOr<Handle> OpenObject(const Handle& parent, const std::string& path);

/// Removes a link where there is one.
absl::Status Remove(const Handle& parent, const std::string& name);

/// Copies the object at `path` with all below it. Links inside are copied as links.
absl::Status Copy(const Handle& from, const std::string& path, const Handle& to,
                  const std::string& name);

/// Copies an open object.
absl::Status CopyObject(const Handle& object, const Handle& to, const std::string& name);

/// Writes a dataset of `shape` (empty: a scalar). T: float, double, int8_t, int16_t, int32_t,
/// int64_t, uint64_t, or bool (stored as h5py's enumeration).
template <typename T>
absl::StatusOr<Handle> WriteNumbers(const Handle& parent, const std::string& name,
                                    std::span<const int64_t> shape, const T* values);

/// Creates a float32 dataset of rows x width, to be filled by WriteRows.
absl::StatusOr<Handle> CreateFloats(const Handle& parent, const std::string& name, int64_t rows,
                                    int64_t width);

/// Writes rows from `first_row` on. REQUIRES: they lie within the dataset.
absl::Status WriteRows(const Handle& dataset, int64_t first_row, int64_t width,
                       std::span<const float> values);

/// Writes UTF-8 strings of variable length: a list, or one scalar.
absl::StatusOr<Handle> WriteStrings(const Handle& parent, const std::string& name,
                                    std::span<const std::string> values);
absl::StatusOr<Handle> WriteString(const Handle& parent, const std::string& name,
                                   const std::string& value);

/// Writes a compound's member of numbers as a dataset of its own; an array-valued member becomes a
/// second dimension.
absl::StatusOr<Handle> WriteMember(const Dataset& member, const Handle& parent,
                                   const std::string& name);

/// Sets an attribute, in place of one of that name.
absl::Status SetAttribute(const Handle& object, const char* name, const std::string& value);
absl::Status SetAttribute(const Handle& object, const char* name, bool value);
absl::Status SetAttribute(const Handle& object, const char* name,
                          std::span<const std::string> values);
absl::Status RemoveAttribute(const Handle& object, const char* name);

}  // namespace portolan::hdf5
