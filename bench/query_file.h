#pragma once

#include <cstdint>
#include <string>

namespace portolan::bench {

struct QueryFileShape {
  int64_t cells = 2000;
  int64_t genes = 2000;  ///< "gene0" on, as SyntheticModel's
  int64_t batches = 1;   ///< "<prefix>0" on, in turn by cell
  double density = 0.1;
  std::string prefix = "new";
};

/// Writes an h5ad file of made-up counts as anndata lays it out: X by rows (chunked, float32 and
/// int32, uncompressed), obs with a column "batch", var. Cells go to disk as they are made; memory
/// does not grow with their number, but for their names.
void WriteQueryFile(const std::string& path, const QueryFileShape& shape);

}  // namespace portolan::bench
