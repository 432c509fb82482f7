#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "core/io/query_reader.h"
#include "core/matrix/csr_matrix.h"

namespace portolan {

/// Collects the counts of one cell after the other, in any order of genes, and hands them on as
/// blocks: columns ascending, several values of one gene summed, zeros dropped. Memory: one block
/// and one dense row of the reference's genes. Not thread-safe.
class RowBlocks {
 public:
  RowBlocks(int64_t genes, int64_t max_rows, const QueryReader::BlockSink& sink);

  /// Adds to the current cell's count of a gene, 0 <= gene < genes.
  void Add(int32_t gene, float value) {
    row_[gene] += value;
    present_[gene >> 6] |= uint64_t{1} << (gene & 63);
  }

  /// Ends the current cell; hands on a full block. Errors: the sink's.
  absl::Status EndRow();

  /// Hands on the last, shorter block.
  absl::Status Finish();

 private:
  absl::Status HandOn();

  int64_t max_rows_;
  const QueryReader::BlockSink& sink_;
  std::vector<float> row_;         // dense counts of the current cell
  std::vector<uint64_t> present_;  // one bit per gene: touched in the current cell
  int64_t first_row_ = 0;
  CsrMatrix block_;
};

}  // namespace portolan
