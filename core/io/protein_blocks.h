#pragma once

#include <cstdint>

#include "core/io/count_matrix.h"
#include "core/io/query_reader.h"

namespace portolan {

/// What to do about proteins that are no counts.
inline constexpr char kProteinRemedy[] =
    "Give the raw counts of the proteins (antibody-derived tags), neither normalised nor "
    "denoised, with 0 where a protein was not measured.";

/// The sink of a ReadCounts whose columns are proteins: hands dense rows on to `sink`, which
/// outlives it.
inline QueryReader::BlockSink DenseProteins(const QueryReader::ProteinSink& sink) {
  return [&sink](int64_t first_row, const CsrMatrix& block) {
    std::vector<float> values(static_cast<size_t>(block.rows() * block.cols), 0.0f);
    for (int64_t row = 0; row < block.rows(); ++row) {
      const auto columns = block.row_columns(row);
      const auto counts = block.row_values(row);
      for (size_t i = 0; i < columns.size(); ++i) {
        values[row * block.cols + columns[i]] = counts[i];
      }
    }
    return sink(first_row, std::move(values));
  };
}

}  // namespace portolan
