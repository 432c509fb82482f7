#include "client/cpp/count_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/client/fake_server.h"

namespace portolan::client {
namespace {

using testing::ElementsAre;

struct Cells {
  std::vector<std::string> names;
  std::vector<int32_t> codes;
  CsrMatrix counts;

  void Add(const std::string& name, int32_t code, std::vector<std::pair<int32_t, float>> row) {
    names.push_back(name);
    codes.push_back(code);
    for (const auto& [column, value] : row) {
      counts.columns.push_back(column);
      counts.values.push_back(value);
    }
    counts.row_offsets.push_back(counts.nonzeros());
  }
  CellBlock block() const { return {names, codes, counts}; }
};

Cells Example(int32_t genes, float value) {
  Cells cells;
  cells.counts.cols = genes;
  cells.Add("one", 1, {{0, 3}, {genes - 1, value}});
  cells.Add("empty", 0, {});
  cells.Add("three", 1, {{2, 1}});
  return cells;
}

TEST(CountBlockTest, RoundTripKeepsEveryCell) {
  const Cells cells = Example(2000, 7);
  ReceivedCells received;
  ASSERT_TRUE(DecodeBlock(EncodeBlock(cells.block(), 0, 3), 2000, received));
  EXPECT_EQ(received.names, cells.names);
  EXPECT_EQ(received.batch_codes, cells.codes);
  EXPECT_EQ(received.counts.row_offsets, cells.counts.row_offsets);
  EXPECT_EQ(received.counts.columns, cells.counts.columns);
  EXPECT_EQ(received.counts.values, cells.counts.values);
}

TEST(CountBlockTest, EncodesARangeOfRowsOnly) {
  const Cells cells = Example(2000, 7);
  ReceivedCells received;
  ASSERT_TRUE(DecodeBlock(EncodeBlock(cells.block(), 1, 2), 2000, received));
  EXPECT_THAT(received.names, ElementsAre("empty", "three"));
  EXPECT_THAT(received.counts.row_offsets, ElementsAre(0, 0, 1));
  EXPECT_THAT(received.counts.columns, ElementsAre(2));
}

struct TypeCase {
  int32_t genes;
  float value;
  v1::DType columns;
  v1::DType values;
};

class CountBlockTypeTest : public testing::TestWithParam<TypeCase> {};

TEST_P(CountBlockTypeTest, TakesTheSmallestTypesThatHoldTheBlock) {
  const TypeCase& c = GetParam();
  const Cells cells = Example(c.genes, c.value);
  const v1::CountBlock block = EncodeBlock(cells.block(), 0, 3);
  EXPECT_EQ(block.column_type(), c.columns);
  EXPECT_EQ(block.value_type(), c.values);
  ReceivedCells received;
  ASSERT_TRUE(DecodeBlock(block, c.genes, received));
  EXPECT_EQ(received.counts.columns, cells.counts.columns);
  EXPECT_EQ(received.counts.values, cells.counts.values);
}

INSTANTIATE_TEST_SUITE_P(Types, CountBlockTypeTest,
                         testing::Values(TypeCase{65536, 255, v1::UINT16, v1::UINT8},
                                         TypeCase{65537, 256, v1::INT32, v1::UINT16},
                                         TypeCase{3, 65535, v1::UINT16, v1::UINT16},
                                         TypeCase{3, 65536, v1::UINT16, v1::FLOAT32},
                                         TypeCase{3, 16777216, v1::UINT16, v1::FLOAT32},
                                         TypeCase{3, 0.5, v1::UINT16, v1::FLOAT32}));

TEST(CountBlockTest, ChecksumCoversEveryArray) {
  const Cells cells = Example(2000, 7);
  const v1::CountBlock good = EncodeBlock(cells.block(), 0, 3);
  for (std::string* (v1::CountBlock::*field)() :
       {&v1::CountBlock::mutable_batch_codes, &v1::CountBlock::mutable_row_lengths,
        &v1::CountBlock::mutable_columns, &v1::CountBlock::mutable_values}) {
    v1::CountBlock damaged = good;
    (*(damaged.*field)())[0] ^= 1;
    ReceivedCells received;
    EXPECT_FALSE(DecodeBlock(damaged, 2000, received));
  }
}

TEST(CountBlockTest, ChecksumIsZlibs) {
  // zlib.crc32(batch_codes + row_lengths + columns + values), for one cell:
  // 00000000 01000000 0200 05.
  Cells cells;
  cells.counts.cols = 3;
  cells.Add("c", 0, {{2, 5}});
  EXPECT_EQ(EncodeBlock(cells.block(), 0, 1).crc32(), 0xbe1e9ab9u);
}

TEST(EncodePartsTest, CutsAtTheSizeAndKeepsTheOrder) {
  Cells cells;
  cells.counts.cols = 100;
  for (int i = 0; i < 50; ++i) cells.Add(absl::StrCat("cell", i), i % 3, {{i, 1}, {99, 2}});
  std::vector<std::string> names;
  int parts = 0;
  ASSERT_TRUE(EncodeParts(cells.block(), 256, [&](v1::CountBlock block) {
                EXPECT_LE(block.ByteSizeLong(), 320u);
                names.insert(names.end(), block.cell_names().begin(), block.cell_names().end());
                ++parts;
                return absl::OkStatus();
              }).ok());
  EXPECT_GT(parts, 4);
  EXPECT_EQ(names, cells.names);
}

TEST(EncodePartsTest, ACellLargerThanAPartGoesAlone) {
  Cells cells;
  cells.counts.cols = 100;
  for (int i = 0; i < 3; ++i) cells.Add(absl::StrCat("c", i), 0, {{1, 1}});
  int parts = 0;
  ASSERT_TRUE(EncodeParts(cells.block(), 1, [&](v1::CountBlock block) {
                EXPECT_EQ(block.cell_names_size(), 1);
                ++parts;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(parts, 3);
}

TEST(EncodePartsTest, EmptyCellsDoNotPileUp) {
  Cells cells;
  cells.counts.cols = 100;
  for (int64_t i = 0; i < 2 * kPartRows + 1; ++i) cells.Add(absl::StrCat("c", i), 0, {});
  std::vector<int> rows;
  ASSERT_TRUE(EncodeParts(cells.block(), kPartBytes, [&](v1::CountBlock block) {
                rows.push_back(block.cell_names_size());
                return absl::OkStatus();
              }).ok());
  EXPECT_THAT(rows, ElementsAre(kPartRows, kPartRows, 1));
}

TEST(EncodePartsTest, StopsAtTheSinksError) {
  const Cells cells = Example(10, 1);
  int parts = 0;
  const absl::Status status = EncodeParts(cells.block(), 1, [&](v1::CountBlock) {
    ++parts;
    return absl::AbortedError("no more");
  });
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(parts, 1);
}

}  // namespace
}  // namespace portolan::client
