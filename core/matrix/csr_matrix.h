#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace portolan {

/// Sparse counts, one row per cell, columns ascending and unique within a row, no stored zeros.
/// A value type; not synchronised.
struct CsrMatrix {
  int64_t cols = 0;                        ///< genes
  std::vector<int64_t> row_offsets = {0};  ///< rows + 1 entries
  std::vector<int32_t> columns;            ///< one per stored value
  std::vector<float> values;               ///< counts; whole numbers below 2^24 are exact

  int64_t rows() const { return static_cast<int64_t>(row_offsets.size()) - 1; }
  int64_t nonzeros() const { return static_cast<int64_t>(columns.size()); }

  std::span<const int32_t> row_columns(int64_t row) const {
    return {columns.data() + row_offsets[row],
            static_cast<size_t>(row_offsets[row + 1] - row_offsets[row])};
  }
  std::span<const float> row_values(int64_t row) const {
    return {values.data() + row_offsets[row],
            static_cast<size_t>(row_offsets[row + 1] - row_offsets[row])};
  }

  /// Appends the rows of `block`, which has the same number of columns.
  void Append(const CsrMatrix& block);

  /// The rows named, in that order.
  CsrMatrix SelectRows(std::span<const int64_t> rows) const;
};

}  // namespace portolan
