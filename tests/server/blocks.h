#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "portolan/v1/upload.pb.h"
#include "server/count_block.h"

namespace portolan::server {

template <typename T>
std::string RawBytes(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A cell as a test writes it down: (column, count) pairs.
struct TestCell {
  std::string name;
  int32_t batch = 0;
  std::vector<std::pair<int32_t, float>> counts;
};

/// The block of these cells: int32 columns, float32 values, right checksum.
inline v1::CountBlock MakeBlock(const std::vector<TestCell>& cells) {
  std::vector<int32_t> codes, lengths, columns;
  std::vector<float> values;
  v1::CountBlock block;
  for (const TestCell& cell : cells) {
    block.add_cell_names(cell.name);
    codes.push_back(cell.batch);
    lengths.push_back(static_cast<int32_t>(cell.counts.size()));
    for (const auto& [column, value] : cell.counts) {
      columns.push_back(column);
      values.push_back(value);
    }
  }
  block.set_batch_codes(RawBytes(codes));
  block.set_row_lengths(RawBytes(lengths));
  block.set_column_type(v1::INT32);
  block.set_columns(RawBytes(columns));
  block.set_value_type(v1::FLOAT32);
  block.set_values(RawBytes(values));
  block.set_crc32(CountBlockCrc32(block));
  return block;
}

/// `cells` cells named from "cell FIRST" on, with counts that differ from cell to cell.
inline std::vector<TestCell> SomeCells(int64_t first, int64_t cells, int64_t genes,
                                       int32_t batches = 1) {
  std::vector<TestCell> some;
  for (int64_t i = first; i < first + cells; ++i) {
    TestCell cell;
    cell.name = "cell " + std::to_string(i);
    cell.batch = static_cast<int32_t>(i % batches);
    for (int64_t gene = i % 7; gene < genes; gene += 5 + i % 3) {
      cell.counts.emplace_back(static_cast<int32_t>(gene),
                               static_cast<float>(1 + (gene * 31 + i * 17) % 9));
    }
    some.push_back(std::move(cell));
  }
  return some;
}

}  // namespace portolan::server
