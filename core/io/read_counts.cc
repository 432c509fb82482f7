// Streaming a count matrix in row order, whatever order it is stored in.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/count_matrix.h"
#include "core/io/matched_columns.h"
#include "core/io/row_blocks.h"

namespace portolan {
namespace {

using hdf5::Dataset;
using hdf5::ValueKind;

// Stored values read at once from a sparse matrix, and bytes read at once from a dense one.
constexpr int64_t kSliceValues = int64_t{1} << 20;
constexpr int64_t kSlabBytes = int64_t{64} << 20;
// A dense matrix whose row of chunks is larger than this is read by columns instead.
constexpr int64_t kLargestRowOfChunks = 4 * kSlabBytes;

// float holds these types' values exactly; the others go through double.
bool FitsFloat(const hdf5::ElementType& type) {
  switch (type.kind) {
    case ValueKind::kBoolean:
      return true;
    case ValueKind::kFloat:
      return type.bytes <= sizeof(float);
    default:
      return type.bytes <= sizeof(int16_t);
  }
}

absl::Status IndexOutOfRange(const CountMatrix& matrix, int64_t index, int64_t limit) {
  return InvalidField(absl::StrCat(matrix.field, "/indices"),
                      absl::StrCat("the index ", index, " in a matrix of ", limit),
                      "The file is damaged: write it again with anndata (adata.write_h5ad).");
}

// Reads a matrix whose values are T and whose indices are I in memory.
template <typename T, typename I>
class SparseReader {
 public:
  SparseReader(const CountMatrix& matrix, const ReadCountsRequest& request)
      : matrix_(matrix), request_(request), check_(request.check) {}

  absl::Status ReadRows(RowBlocks& blocks) {
    for (int64_t row = 0; row < matrix_.cells; ++row) {
      int64_t at = matrix_.indptr[row];
      const int64_t end = matrix_.indptr[row + 1];
      while (at < end) {
        PORTOLAN_RETURN_IF_ERROR(Need(at, row));
        const int64_t stop = std::min(end, slice_start_ + static_cast<int64_t>(values_.size()));
        PORTOLAN_RETURN_IF_ERROR(AddEntries(at, stop, blocks));
        at = stop;
      }
      PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
    }
    return blocks.Finish();
  }

  absl::StatusOr<MatchedColumns> ReadColumns() {
    MatchedColumns out;
    for (int64_t column = 0; column < matrix_.genes; ++column) {
      const int32_t gene = request_.columns.reference_column[column];
      int64_t at = matrix_.indptr[column];
      const int64_t end = matrix_.indptr[column + 1];
      while (at < end) {
        PORTOLAN_RETURN_IF_ERROR(Need(at, column));
        const int64_t stop = std::min(end, slice_start_ + static_cast<int64_t>(values_.size()));
        PORTOLAN_RETURN_IF_ERROR(KeepEntries(at, stop, gene >= 0, out));
        at = stop;
      }
      if (gene >= 0) out.EndColumn(gene);
    }
    return out;
  }

 private:
  // Makes sure that the slice in memory holds entry `at`, of row or column `major`.
  absl::Status Need(int64_t at, int64_t major) {
    if (at < slice_start_ + static_cast<int64_t>(values_.size())) return absl::OkStatus();
    PORTOLAN_RETURN_IF_ERROR(request_.cancel.Check());
    const int64_t count = std::min(kSliceValues, matrix_.indptr.back() - at);
    slice_start_ = at;
    values_.resize(count);
    indices_.resize(count);
    PORTOLAN_RETURN_IF_ERROR(hdf5::Read(matrix_.values, at, count, values_.data()));
    PORTOLAN_RETURN_IF_ERROR(hdf5::Read(matrix_.indices, at, count, indices_.data()));
    if (check_.Check(0, std::span<const T>(values_)).ok()) return absl::OkStatus();
    return FirstOffender(major);
  }

  absl::Status FirstOffender(int64_t major) {
    for (size_t i = 0; i < values_.size(); ++i) {
      const int64_t at = slice_start_ + static_cast<int64_t>(i);
      while (at >= matrix_.indptr[major + 1]) ++major;
      const bool by_rows = matrix_.layout == CountMatrix::Layout::kCsr;
      const int64_t row = by_rows ? major : static_cast<int64_t>(indices_[i]);
      PORTOLAN_RETURN_IF_ERROR(check_.Check(row, std::span<const T>(&values_[i], 1)));
    }
    return absl::OkStatus();
  }

  absl::Status AddEntries(int64_t begin, int64_t end, RowBlocks& blocks) {
    const auto genes = static_cast<uint64_t>(matrix_.genes);
    for (int64_t i = begin - slice_start_; i < end - slice_start_; ++i) {
      const I column = indices_[i];
      if (static_cast<uint64_t>(static_cast<int64_t>(column)) >= genes) {
        return IndexOutOfRange(matrix_, column, matrix_.genes);
      }
      const int32_t gene = request_.columns.reference_column[column];
      if (gene >= 0) blocks.Add(gene, static_cast<float>(values_[i]));
    }
    return absl::OkStatus();
  }

  absl::Status KeepEntries(int64_t begin, int64_t end, bool keep, MatchedColumns& out) {
    const auto cells = static_cast<uint64_t>(matrix_.cells);
    for (int64_t i = begin - slice_start_; i < end - slice_start_; ++i) {
      const I row = indices_[i];
      if (static_cast<uint64_t>(static_cast<int64_t>(row)) >= cells) {
        return IndexOutOfRange(matrix_, row, matrix_.cells);
      }
      if (!keep || values_[i] == T{0}) continue;
      out.Add(static_cast<int32_t>(row), static_cast<float>(values_[i]));
    }
    return absl::OkStatus();
  }

  const CountMatrix& matrix_;
  const ReadCountsRequest& request_;
  const CountCheck& check_;
  int64_t slice_start_ = 0;  // the entries in memory: values_ and indices_ from here on
  std::vector<T> values_;
  std::vector<I> indices_;
};

// (query column, reference gene) of the columns that are kept.
std::vector<std::pair<int64_t, int32_t>> Matches(const ColumnMap& columns) {
  std::vector<std::pair<int64_t, int32_t>> out;
  for (size_t column = 0; column < columns.reference_column.size(); ++column) {
    const int32_t gene = columns.reference_column[column];
    if (gene >= 0) out.emplace_back(static_cast<int64_t>(column), gene);
  }
  return out;
}

template <typename T>
absl::Status ReadDenseByRows(const CountMatrix& matrix, int64_t step,
                             const ReadCountsRequest& request, RowBlocks& blocks) {
  const auto matches = Matches(request.columns);
  std::vector<T> slab(static_cast<size_t>(step * matrix.genes));
  for (int64_t first = 0; first < matrix.cells; first += step) {
    PORTOLAN_RETURN_IF_ERROR(request.cancel.Check());
    const int64_t rows = std::min(step, matrix.cells - first);
    const int64_t start[] = {first, 0};
    const int64_t count[] = {rows, matrix.genes};
    PORTOLAN_RETURN_IF_ERROR(hdf5::ReadBox(matrix.values, start, count, slab.data()));
    for (int64_t row = 0; row < rows; ++row) {
      const T* const values = slab.data() + row * matrix.genes;
      PORTOLAN_RETURN_IF_ERROR(
          request.check.Check(first + row, {values, static_cast<size_t>(matrix.genes)}));
      for (const auto& [column, gene] : matches) {
        if (values[column] != T{0}) blocks.Add(gene, static_cast<float>(values[column]));
      }
      PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
    }
  }
  return blocks.Finish();
}

template <typename T>
absl::StatusOr<MatchedColumns> ReadDenseByColumns(const CountMatrix& matrix, int64_t step,
                                                  const ReadCountsRequest& request) {
  MatchedColumns out;
  std::vector<T> slab(static_cast<size_t>(step * matrix.cells));
  for (int64_t first = 0; first < matrix.genes; first += step) {
    PORTOLAN_RETURN_IF_ERROR(request.cancel.Check());
    const int64_t columns = std::min(step, matrix.genes - first);
    const int64_t start[] = {0, first};
    const int64_t count[] = {matrix.cells, columns};
    PORTOLAN_RETURN_IF_ERROR(hdf5::ReadBox(matrix.values, start, count, slab.data()));
    for (int64_t row = 0; row < matrix.cells; ++row) {
      PORTOLAN_RETURN_IF_ERROR(
          request.check.Check(row, {slab.data() + row * columns, static_cast<size_t>(columns)}));
    }
    for (int64_t column = 0; column < columns; ++column) {
      const int32_t gene = request.columns.reference_column[first + column];
      if (gene < 0) continue;
      for (int64_t row = 0; row < matrix.cells; ++row) {
        const T value = slab[row * columns + column];
        if (value == T{0}) continue;
        out.Add(static_cast<int32_t>(row), static_cast<float>(value));
      }
      out.EndColumn(gene);
    }
  }
  return out;
}

// How many rows (or columns) to read at once: whole chunks, of about kSlabBytes.
int64_t Step(int64_t extent, int64_t across, int64_t chunk, size_t element_bytes) {
  const int64_t line = std::max<int64_t>(1, across * static_cast<int64_t>(element_bytes));
  const int64_t fits = std::max<int64_t>(1, kSlabBytes / line);
  const int64_t whole_chunks = std::max(chunk, fits / chunk * chunk);
  return std::min(extent, whole_chunks);
}

template <typename T>
absl::Status ReadDense(const CountMatrix& matrix, const ReadCountsRequest& request,
                       RowBlocks& blocks) {
  const auto& chunk = matrix.values.chunk;
  const int64_t chunk_rows = chunk.empty() ? 1 : std::min(chunk[0], matrix.cells);
  const int64_t chunk_columns = chunk.empty() ? matrix.genes : std::min(chunk[1], matrix.genes);
  const auto bytes = static_cast<int64_t>(sizeof(T));
  const bool by_rows = chunk_rows * matrix.genes * bytes <= kLargestRowOfChunks ||
                       chunk_rows * matrix.genes <= chunk_columns * matrix.cells;
  if (by_rows) {
    return ReadDenseByRows<T>(matrix, Step(matrix.cells, matrix.genes, chunk_rows, sizeof(T)),
                              request, blocks);
  }
  PORTOLAN_ASSIGN_OR_RETURN(
      const MatchedColumns columns,
      ReadDenseByColumns<T>(matrix, Step(matrix.genes, matrix.cells, chunk_columns, sizeof(T)),
                            request));
  return columns.EmitRows(matrix.cells, request.max_rows, request.cancel, blocks);
}

template <typename T, typename I>
absl::Status ReadSparse(const CountMatrix& matrix, const ReadCountsRequest& request,
                        RowBlocks& blocks) {
  SparseReader<T, I> reader(matrix, request);
  if (matrix.layout == CountMatrix::Layout::kCsr) return reader.ReadRows(blocks);
  PORTOLAN_ASSIGN_OR_RETURN(const MatchedColumns columns, reader.ReadColumns());
  return columns.EmitRows(matrix.cells, request.max_rows, request.cancel, blocks);
}

template <typename T>
absl::Status ReadAs(const CountMatrix& matrix, const ReadCountsRequest& request,
                    RowBlocks& blocks) {
  if (matrix.layout == CountMatrix::Layout::kDense) return ReadDense<T>(matrix, request, blocks);
  // HDF5 clamps what does not fit, so only types that do fit are read as 32 bits.
  const hdf5::ElementType& index = matrix.indices.type;
  const bool fits =
      index.bytes < sizeof(int32_t) || (index.bytes == sizeof(int32_t) && index.is_signed);
  return fits ? ReadSparse<T, int32_t>(matrix, request, blocks)
              : ReadSparse<T, int64_t>(matrix, request, blocks);
}

}  // namespace

absl::Status ReadCounts(const CountMatrix& matrix, const ReadCountsRequest& request) {
  if (request.max_rows < 1) {
    return InvalidField("max_rows", absl::StrCat(request.max_rows), "Ask for at least one row.");
  }
  const auto aligned = static_cast<int64_t>(request.columns.reference_column.size());
  if (aligned != matrix.genes) {
    return InvalidField(matrix.field, absl::StrCat(matrix.genes, " columns, aligned as ", aligned),
                        "Align the columns of the same matrix.");
  }
  const ReadCountsRequest bounded = {request.columns, request.check,
                                     std::min(request.max_rows, matrix.cells), request.cancel,
                                     request.sink};
  RowBlocks blocks(request.columns.reference_columns, bounded.max_rows, request.sink);
  return FitsFloat(matrix.values.type) ? ReadAs<float>(matrix, bounded, blocks)
                                       : ReadAs<double>(matrix, bounded, blocks);
}

}  // namespace portolan
