#include "core/matrix/csr_matrix.h"

namespace portolan {

void CsrMatrix::Append(const CsrMatrix& block) {
  const int64_t base = nonzeros();
  row_offsets.reserve(row_offsets.size() + block.rows());
  for (int64_t row = 1; row <= block.rows(); ++row) {
    row_offsets.push_back(base + block.row_offsets[row]);
  }
  columns.insert(columns.end(), block.columns.begin(), block.columns.end());
  values.insert(values.end(), block.values.begin(), block.values.end());
}

CsrMatrix CsrMatrix::SelectRows(std::span<const int64_t> rows) const {
  CsrMatrix out;
  out.cols = cols;
  int64_t stored = 0;
  for (const int64_t row : rows) stored += row_offsets[row + 1] - row_offsets[row];
  out.row_offsets.reserve(rows.size() + 1);
  out.columns.reserve(stored);
  out.values.reserve(stored);
  for (const int64_t row : rows) {
    const auto c = row_columns(row);
    const auto v = row_values(row);
    out.columns.insert(out.columns.end(), c.begin(), c.end());
    out.values.insert(out.values.end(), v.begin(), v.end());
    out.row_offsets.push_back(out.nonzeros());
  }
  return out;
}

}  // namespace portolan
