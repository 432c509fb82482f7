#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

namespace portolan {

/// A QueryReader of h5ad files: anndata 0.6 to today. `path` names the open file in errors, which
/// are OpenQuery's.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenH5ad(hdf5::Handle file, const std::string& path);

}  // namespace portolan
