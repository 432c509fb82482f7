#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace portolan::end_to_end {

/// The cells of a query file, to be changed and written as another one. Counts are stored by rows.
struct QueryCells {
  std::vector<std::string> cells;
  std::vector<std::string> genes;
  std::vector<std::optional<std::string>> batches;     ///< obs["batch"]
  std::vector<std::optional<std::string>> cell_types;  ///< obs["cell_type"]
  std::vector<int64_t> row_offsets = {0};
  std::vector<int32_t> columns;
  std::vector<float> values;

  /// Reads an h5ad file with a sparse X.
  static QueryCells Read(const std::string& path);

  QueryCells SelectRows(std::span<const int64_t> rows) const;
  QueryCells SelectBatch(const std::string& batch) const;
  QueryCells FirstRows(int64_t count) const;
  QueryCells Transposed() const;

  /// Writes an h5ad file; without X if asked.
  void Write(const std::string& path, bool with_counts = true) const;
};

}  // namespace portolan::end_to_end
