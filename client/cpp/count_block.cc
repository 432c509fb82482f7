#include "client/cpp/count_block.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire's arrays are little-endian");

v1::DType ColumnType(std::span<const int32_t> columns) {
  const bool narrow =
      std::all_of(columns.begin(), columns.end(), [](int32_t column) { return column <= 0xffff; });
  return narrow ? v1::UINT16 : v1::INT32;
}

v1::DType ValueType(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    if (!(value >= 0) || value > 65535 || value != std::floor(value)) return v1::FLOAT32;
    largest = std::max(largest, value);
  }
  return largest <= 255 ? v1::UINT8 : v1::UINT16;
}

template <typename Wire, typename Value>
std::string Pack(std::span<const Value> values) {
  std::vector<Wire> wire(values.size());
  std::transform(values.begin(), values.end(), wire.begin(),
                 [](Value value) { return static_cast<Wire>(value); });
  return std::string(reinterpret_cast<const char*>(wire.data()), wire.size() * sizeof(Wire));
}

std::string PackValues(std::span<const float> values, v1::DType type) {
  if (type == v1::UINT8) return Pack<uint8_t>(values);
  if (type == v1::UINT16) return Pack<uint16_t>(values);
  return Pack<float>(values);
}

uint32_t Checksum(const v1::CountBlock& block) {
  uLong crc = crc32(0, nullptr, 0);
  for (const std::string* part :
       {&block.batch_codes(), &block.row_lengths(), &block.columns(), &block.values(),
        &block.proteins(), &block.categorical_covariates(), &block.continuous_covariates(),
        &block.size_factors(), &block.labels()}) {
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(part->data()), part->size());
  }
  return static_cast<uint32_t>(crc);
}

// Values per row of a row-major array; 0 if there is none.
int64_t Width(size_t values, const CellBlock& cells) {
  return static_cast<int64_t>(values) / std::max<int64_t>(1, cells.counts.rows());
}

// Rows [first_row, first_row + rows) of a row-major array over the cells of a block.
template <typename T>
std::span<const T> Rows(std::span<const T> values, const CellBlock& cells, int64_t first_row,
                        int64_t rows) {
  const int64_t width = Width(values.size(), cells);
  return values.subspan(first_row * width, rows * width);
}

// About what a row takes on the wire: the name with its tag and length, batch code, row length, its
// stored columns and values, and what else the model reads.
int64_t RowBytes(const CellBlock& cells, int64_t row) {
  const int64_t stored = cells.counts.row_offsets[row + 1] - cells.counts.row_offsets[row];
  const int64_t column_bytes = cells.counts.cols <= 0x10000 ? 2 : 4;
  const CellAnnotations& annotations = cells.annotations;
  const int64_t other = 2 * Width(cells.proteins.size(), cells) + 4 * annotations.n_categorical +
                        4 * annotations.n_continuous + 8;
  return static_cast<int64_t>(cells.cell_names[row].size()) + 16 + stored * (column_bytes + 2) +
         other;
}

void PackInputs(const CellBlock& cells, int64_t first_row, int64_t rows, v1::CountBlock& block) {
  if (!cells.proteins.empty()) {
    const std::span<const float> proteins = Rows(cells.proteins, cells, first_row, rows);
    block.set_protein_type(ValueType(proteins));
    block.set_proteins(PackValues(proteins, block.protein_type()));
  }
  const auto ints = [&](const std::vector<int32_t>& values) {
    return Pack<int32_t>(Rows(std::span<const int32_t>(values), cells, first_row, rows));
  };
  const auto floats = [&](const std::vector<float>& values) {
    return Pack<float>(Rows(std::span<const float>(values), cells, first_row, rows));
  };
  block.set_categorical_covariates(ints(cells.annotations.categorical));
  block.set_continuous_covariates(floats(cells.annotations.continuous));
  block.set_size_factors(floats(cells.annotations.size_factors));
  block.set_labels(ints(cells.annotations.labels));
}

}  // namespace

v1::CountBlock EncodeBlock(const CellBlock& cells, int64_t first_row, int64_t rows) {
  const CsrMatrix& counts = cells.counts;
  const int64_t begin = counts.row_offsets[first_row];
  const int64_t stored = counts.row_offsets[first_row + rows] - begin;
  const std::span<const int32_t> columns(counts.columns.data() + begin, stored);
  const std::span<const float> values(counts.values.data() + begin, stored);
  std::vector<int32_t> lengths(rows);
  for (int64_t row = 0; row < rows; ++row) {
    lengths[row] = static_cast<int32_t>(counts.row_offsets[first_row + row + 1] -
                                        counts.row_offsets[first_row + row]);
  }
  v1::CountBlock block;
  for (const std::string& name : cells.cell_names.subspan(first_row, rows)) {
    block.add_cell_names(name);
  }
  block.set_batch_codes(Pack<int32_t>(cells.batch_codes.subspan(first_row, rows)));
  block.set_row_lengths(Pack<int32_t>(std::span<const int32_t>(lengths)));
  block.set_column_type(ColumnType(columns));
  block.set_columns(block.column_type() == v1::UINT16 ? Pack<uint16_t>(columns)
                                                      : Pack<int32_t>(columns));
  block.set_value_type(ValueType(values));
  block.set_values(PackValues(values, block.value_type()));
  PackInputs(cells, first_row, rows, block);
  block.set_crc32(Checksum(block));
  return block;
}

absl::Status EncodeParts(const CellBlock& cells, int64_t part_bytes,
                         const std::function<absl::Status(v1::CountBlock)>& sink) {
  int64_t first = 0;
  int64_t bytes = 0;
  for (int64_t row = 0; row < cells.counts.rows(); ++row) {
    const int64_t row_bytes = RowBytes(cells, row);
    if (row > first && (bytes + row_bytes > part_bytes || row - first == kPartRows)) {
      PORTOLAN_RETURN_IF_ERROR(sink(EncodeBlock(cells, first, row - first)));
      first = row;
      bytes = 0;
    }
    bytes += row_bytes;
  }
  if (first == cells.counts.rows()) return absl::OkStatus();
  return sink(EncodeBlock(cells, first, cells.counts.rows() - first));
}

}  // namespace portolan::client
