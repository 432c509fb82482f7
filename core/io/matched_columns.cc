#include "core/io/matched_columns.h"

#include <algorithm>
#include <numeric>

#include "core/base/status_macros.h"

namespace portolan {

void MatchedColumns::EndColumn(int32_t reference_gene) {
  SortTail();
  gene_.push_back(reference_gene);
  offsets_.push_back(static_cast<int64_t>(rows_.size()));
}

void MatchedColumns::SortTail() {
  const auto first = rows_.begin() + offsets_.back();
  if (std::is_sorted(first, rows_.end())) return;
  std::vector<size_t> order(rows_.end() - first);
  std::iota(order.begin(), order.end(), static_cast<size_t>(offsets_.back()));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows_[a] < rows_[b]; });
  std::vector<int32_t> sorted_rows;
  std::vector<float> sorted_values;
  for (const size_t i : order) {
    sorted_rows.push_back(rows_[i]);
    sorted_values.push_back(values_[i]);
  }
  std::copy(sorted_rows.begin(), sorted_rows.end(), first);
  std::copy(sorted_values.begin(), sorted_values.end(), values_.begin() + offsets_.back());
}

absl::Status MatchedColumns::EmitRows(int64_t cells, int64_t max_rows, const CancelToken& cancel,
                                      RowBlocks& blocks) const {
  std::vector<int64_t> cursor(offsets_.begin(), offsets_.end() - 1);
  std::vector<int64_t> start(static_cast<size_t>(std::min(max_rows, cells)) + 1);
  std::vector<int32_t> genes;
  std::vector<float> values;
  for (int64_t first = 0; first < cells; first += max_rows) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    const int64_t count = std::min(max_rows, cells - first);
    const int64_t end = first + count;
    // Count per row, then place: a transposition of this range of rows.
    std::fill(start.begin(), start.end(), 0);
    for (size_t c = 0; c < cursor.size(); ++c) {
      for (int64_t i = cursor[c]; i < offsets_[c + 1] && rows_[i] < end; ++i) {
        ++start[rows_[i] - first + 1];
      }
    }
    std::partial_sum(start.begin(), start.end(), start.begin());
    genes.resize(start[count]);
    values.resize(start[count]);
    std::vector<int64_t> place(start.begin(), start.begin() + count);
    for (size_t c = 0; c < cursor.size(); ++c) {
      int64_t& i = cursor[c];
      for (; i < offsets_[c + 1] && rows_[i] < end; ++i) {
        const int64_t at = place[rows_[i] - first]++;
        genes[at] = gene_[c];
        values[at] = values_[i];
      }
    }
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = start[row]; i < start[row + 1]; ++i) blocks.Add(genes[i], values[i]);
      PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
    }
  }
  return blocks.Finish();
}

}  // namespace portolan
