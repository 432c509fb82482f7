#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "core/base/cancellation.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/csr_matrix.h"

namespace portolan {

/// Where EncodeCells writes, row-major: cells x latent, cells x latent, cells x labels (SCANVI).
struct EncodedCells {
  std::span<float> mean;
  std::span<float> variance;
  std::span<float> probabilities;
};

/// q(z|x) of cells in eval mode, and for SCANVI the classifier's probabilities at the means.
/// `codes`: per cell, into the tables of `columns`. Counts are never made dense. Row i depends on
/// cell i alone, bit for bit. Errors: kCancelled, at most a block of cells late.
absl::Status EncodeCells(const PackedNetworks& networks, const ColumnTables& columns,
                         const CsrMatrix& counts, std::span<const int32_t> codes,
                         const CancelToken& cancel, const EncodedCells& out);

}  // namespace portolan
