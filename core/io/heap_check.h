#pragma once

#include <string>

#include "absl/status/status.h"

namespace portolan::hdf5 {

/// Checks the structure of every global heap collection of an HDF5 file, where texts of variable
/// length are kept. HDF5 (seen up to 1.10) believes the sizes written there and copies that many
/// bytes into a buffer of at least 4096, so damage there becomes damage in memory: sizes that do
/// not fit and texts beyond that are refused. Reads the file once from beginning to end.
/// Errors: InvalidField("file").
absl::Status CheckGlobalHeaps(const std::string& path);

}  // namespace portolan::hdf5
