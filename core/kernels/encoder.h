#pragma once

#include <span>

#include "absl/status/status.h"
#include "core/base/cancellation.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/cell_inputs.h"

namespace portolan {

/// Where EncodeCells writes, row-major: cells x latent, cells x latent, cells x labels (SCANVI).
struct EncodedCells {
  std::span<float> mean;
  std::span<float> variance;
  std::span<float> probabilities;
};

/// q(z|x) of cells in eval mode, and for SCANVI the classifier's probabilities at the means. Batch
/// codes go into the tables of `columns`. Counts are never made dense. Row i depends on cell i
/// alone, bit for bit. Errors: kCancelled, at most a block of cells late.
absl::Status EncodeCells(const PackedNetworks& networks, const ColumnTables& columns,
                         const CellInputs& cells, const CancelToken& cancel,
                         const EncodedCells& out);

}  // namespace portolan
