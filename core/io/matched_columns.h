#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "core/base/cancellation.h"
#include "core/io/row_blocks.h"

namespace portolan {

/// The matching genes' counts, one column after the other: what a matrix stored by columns leaves
/// in memory until its rows can be told.
class MatchedColumns {
 public:
  /// Adds a count to the current column; cells in any order.
  void Add(int32_t cell, float value) {
    rows_.push_back(cell);
    values_.push_back(value);
  }

  /// Ends the current column, which is this gene of the reference. Genes in any order.
  void EndColumn(int32_t reference_gene);

  /// Hands the rows to `blocks`, `max_rows` at a time. Error: kCancelled, or the sink's.
  absl::Status EmitRows(int64_t cells, int64_t max_rows, const CancelToken& cancel,
                        RowBlocks& blocks) const;

 private:
  void SortTail();

  std::vector<int32_t> gene_;        // reference gene of each column
  std::vector<int64_t> offsets_{0};  // into the next two; one more than columns
  std::vector<int32_t> rows_;        // ascending within a column
  std::vector<float> values_;
};

}  // namespace portolan
