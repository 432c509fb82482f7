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
       {&block.batch_codes(), &block.row_lengths(), &block.columns(), &block.values()}) {
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(part->data()), part->size());
  }
  return static_cast<uint32_t>(crc);
}

// About what a row takes on the wire: the name with its tag and length, batch code, row length, and
// its stored columns and values.
int64_t RowBytes(const CellBlock& cells, int64_t row) {
  const int64_t stored = cells.counts.row_offsets[row + 1] - cells.counts.row_offsets[row];
  const int64_t column_bytes = cells.counts.cols <= 0x10000 ? 2 : 4;
  return static_cast<int64_t>(cells.cell_names[row].size()) + 16 + stored * (column_bytes + 2);
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
