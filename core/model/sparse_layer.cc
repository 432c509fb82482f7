#include "core/model/sparse_layer.h"

#include <algorithm>
#include <cmath>

namespace portolan {

void SparseFirstLayer(const CsrMatrix& counts, std::span<const int64_t> rows, const float* weight_t,
                      const float* bias, int64_t width, bool log1p_counts, float* out) {
  for (const int64_t row : rows) {
    std::copy(bias, bias + width, out);
    const auto genes = counts.row_columns(row);
    const auto values = counts.row_values(row);
    for (size_t k = 0; k < genes.size(); ++k) {
      const float value = log1p_counts ? std::log1p(values[k]) : values[k];
      const float* weight = weight_t + genes[k] * width;
      for (int64_t j = 0; j < width; ++j) out[j] += value * weight[j];
    }
    out += width;
  }
}

void DenseRows(const CsrMatrix& counts, std::span<const int64_t> rows, float* out) {
  std::fill(out, out + static_cast<int64_t>(rows.size()) * counts.cols, 0.0f);
  for (const int64_t row : rows) {
    const auto genes = counts.row_columns(row);
    const auto values = counts.row_values(row);
    for (size_t k = 0; k < genes.size(); ++k) out[genes[k]] = values[k];
    out += counts.cols;
  }
}

}  // namespace portolan
