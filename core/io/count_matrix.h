#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/cancellation.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"
#include "core/matrix/count_check.h"

namespace portolan {

/// A matrix of an h5ad file (cells x genes, or cells x proteins), open and checked: its shape is
/// the file's, its parts are of one piece. Not thread-safe.
struct CountMatrix {
  enum class Layout { kCsr, kCsc, kDense };

  std::string field;  ///< "X", "layers/NAME", "raw/X"
  Layout layout = Layout::kDense;
  int64_t cells = 0;
  int64_t genes = 0;
  hdf5::Dataset values;         ///< dense: cells x genes; sparse: the stored values
  hdf5::Dataset indices;        ///< sparse only
  std::vector<int64_t> indptr;  ///< sparse only: cells + 1 (CSR) or genes + 1 (CSC), ascending

  /// Errors: InvalidField(field) naming what does not fit.
  static absl::StatusOr<CountMatrix> Open(const hdf5::Handle& file, const std::string& path,
                                          const std::string& field, int64_t cells, int64_t genes);

  /// The matrix whose parts data, indices and indptr stand in `group`, by cells. Errors: as above.
  static absl::StatusOr<CountMatrix> OpenCsr(const hdf5::Handle& group, const std::string& field,
                                             int64_t cells, int64_t genes);
};

/// Where a matrix's columns go: -1 where one is dropped.
struct ColumnMap {
  std::span<const int32_t> reference_column;  ///< one per column of the matrix
  int64_t reference_columns = 0;              ///< how many there are to go to
};

/// What QueryReader::ReadCounts needs besides the matrix.
struct ReadCountsRequest {
  ColumnMap columns;
  const CountCheck& check;
  int64_t max_rows = 0;
  const CancelToken& cancel;
  const QueryReader::BlockSink& sink;
};

/// Streams one matrix as QueryReader::ReadCounts does.
absl::Status ReadCounts(const CountMatrix& matrix, const ReadCountsRequest& request);

}  // namespace portolan
