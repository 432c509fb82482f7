#pragma once

#include <cstdint>
#include <span>

#include "core/matrix/csr_matrix.h"

namespace portolan {

/// W f(x) + bias of an encoder's first Linear for sparse counts, one row per entry of `rows`:
///   out[i, :] = bias + sum_g f(x[rows[i], g]) weight_t[g, :],   f = log1p if `log1p_counts`.
/// weight_t: (genes, width), row-major; out: (rows, width). Each row depends on its cell alone and
/// is summed in gene order, so the result is the same whatever the rows around it.
void SparseFirstLayer(const CsrMatrix& counts, std::span<const int64_t> rows, const float* weight_t,
                      const float* bias, int64_t width, bool log1p_counts, float* out);

/// Dense copies of rows, (rows, genes), row-major; `out` need not be cleared.
void DenseRows(const CsrMatrix& counts, std::span<const int64_t> rows, float* out);

}  // namespace portolan
