#include "core/io/row_blocks.h"

#include <bit>
#include <utility>

#include "core/base/status_macros.h"

namespace portolan {

RowBlocks::RowBlocks(int64_t genes, int64_t max_rows, const QueryReader::BlockSink& sink)
    : max_rows_(max_rows), sink_(sink), row_(genes, 0.0f), present_((genes + 63) / 64, 0) {
  block_.cols = genes;
}

absl::Status RowBlocks::EndRow() {
  for (size_t word = 0; word < present_.size(); ++word) {
    for (uint64_t bits = std::exchange(present_[word], 0); bits != 0; bits &= bits - 1) {
      const size_t gene = 64 * word + static_cast<size_t>(std::countr_zero(bits));
      const float value = std::exchange(row_[gene], 0.0f);
      if (value == 0.0f) continue;
      block_.columns.push_back(static_cast<int32_t>(gene));
      block_.values.push_back(value);
    }
  }
  block_.row_offsets.push_back(block_.nonzeros());
  return block_.rows() == max_rows_ ? HandOn() : absl::OkStatus();
}

absl::Status RowBlocks::Finish() { return block_.rows() > 0 ? HandOn() : absl::OkStatus(); }

absl::Status RowBlocks::HandOn() {
  CsrMatrix next;
  next.cols = block_.cols;
  next.columns.reserve(block_.columns.size());
  next.values.reserve(block_.values.size());
  std::swap(next, block_);
  const int64_t first = first_row_;
  first_row_ += next.rows();
  return sink_(first, std::move(next));
}

}  // namespace portolan
