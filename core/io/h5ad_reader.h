#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"

namespace portolan {

/// A QueryReader of h5ad files: anndata 0.6 to today. See OpenQuery for the errors.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenH5ad(const std::string& path);

}  // namespace portolan
