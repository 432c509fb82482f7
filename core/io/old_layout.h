#pragma once

#include "absl/status/status.h"
#include "core/io/hdf5.h"

namespace portolan::h5ad {

/// Rewrites, in `copy`, what anndata before 0.8 laid out in another way than today in `original`,
/// of which `copy` is a copy: dataframes with `__categories` anywhere in the file (their references
/// do not survive a copy), compound obs, var, obsm and varm with categories in uns. The values stay
/// what they were. Leaves today's layout alone. Errors: as in hdf5_write.h.
absl::Status ModerniseLayout(const hdf5::Handle& original, const hdf5::Handle& copy);

}  // namespace portolan::h5ad
