#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

namespace portolan {

/// Whether an open HDF5 file is a matrix of Cell Ranger: version 3 (the group "matrix", features
/// with types) or version 2 (a group for each genome).
bool IsTenxHdf5(const hdf5::Handle& file);

/// Reads it. Of several genomes the one that the reference knows best is taken. Errors:
/// InvalidField, among others where several genomes are equally (un)known.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenTenxHdf5(
    hdf5::Handle file, std::span<const std::string> reference_genes);

}  // namespace portolan
