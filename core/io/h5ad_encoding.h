#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "core/io/hdf5.h"

/// The elements of an h5ad file as anndata encodes them today ("On-disk format" in anndata's
/// documentation): every element names its encoding in two attributes. Each function replaces an
/// element of the same name. Errors: as in hdf5_write.h.
namespace portolan::h5ad {

/// Sets encoding-type and encoding-version.
absl::Status SetEncoding(const hdf5::Handle& object, const std::string& type,
                         const std::string& version);

/// Opens a dict group, creating it where it is absent.
absl::StatusOr<hdf5::Handle> OpenOrCreateDict(const hdf5::Handle& parent, const std::string& name);

absl::Status WriteStringArray(const hdf5::Handle& parent, const std::string& name,
                              std::span<const std::string> values);

/// A rows x width array of float32.
absl::Status WriteArray(const hdf5::Handle& parent, const std::string& name, int64_t rows,
                        int64_t width, const float* values);

/// Says of a dataset that it is such an array.
absl::Status MarkArray(const hdf5::Handle& dataset);

/// Creates a categorical with its codes, in the smallest integers that hold them, as pandas does;
/// its categories are still to be written into the group returned, under "categories".
absl::StatusOr<hdf5::Handle> WriteCodes(const hdf5::Handle& parent, const std::string& name,
                                        std::span<const int32_t> codes, int64_t categories,
                                        bool ordered);

/// A nested dict. A key's slashes become underscores, since HDF5 would read a path; nulls are left
/// out; a list of anything but strings, numbers or booleans of one kind becomes a dict with the
/// keys "0", "1", ... Errors: InvalidField(name) beyond 64 levels.
absl::Status WriteJson(const hdf5::Handle& parent, const std::string& name,
                       const nlohmann::json& value);

}  // namespace portolan::h5ad
