#include "server/count_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/base/field_error.h"
#include "tests/server/blocks.h"

namespace portolan::server {
namespace {

constexpr CountBlockBounds kBounds = {/*genes=*/10, /*batches=*/2, /*max_cells=*/3,
                                      /*need_names=*/true};

v1::CountBlock GoodBlock() {
  return MakeBlock({{"a", 0, {{0, 1}, {9, 255}}}, {"b", 1, {}}, {"c", 1, {{4, 16777216}}}});
}

TEST(CountBlockTest, DecodesRows) {
  const absl::StatusOr<DecodedBlock> block = DecodeCountBlock(GoodBlock(), kBounds, "part 0");
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->counts.cols, 10);
  EXPECT_THAT(block->counts.row_offsets, testing::ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(block->counts.columns, testing::ElementsAre(0, 9, 4));
  EXPECT_THAT(block->counts.values, testing::ElementsAre(1, 255, 16777216));
  EXPECT_THAT(block->cell_names, testing::ElementsAre("a", "b", "c"));
  EXPECT_THAT(block->batch_codes, testing::ElementsAre(0, 1, 1));
}

template <typename Column, typename Value>
v1::CountBlock TypedBlock(v1::DType column_type, v1::DType value_type) {
  v1::CountBlock block = MakeBlock({{"a", 0, {{1, 1}, {8, 1}}}});
  block.set_column_type(column_type);
  block.set_columns(RawBytes(std::vector<Column>{1, 8}));
  block.set_value_type(value_type);
  block.set_values(RawBytes(std::vector<Value>{3, 200}));
  block.set_crc32(CountBlockCrc32(block));
  return block;
}

TEST(CountBlockTest, DecodesAllTypes) {
  for (const v1::CountBlock& wire : {TypedBlock<uint16_t, uint8_t>(v1::UINT16, v1::UINT8),
                                     TypedBlock<uint16_t, uint16_t>(v1::UINT16, v1::UINT16),
                                     TypedBlock<uint16_t, float>(v1::UINT16, v1::FLOAT32),
                                     TypedBlock<int32_t, uint8_t>(v1::INT32, v1::UINT8),
                                     TypedBlock<int32_t, uint16_t>(v1::INT32, v1::UINT16),
                                     TypedBlock<int32_t, float>(v1::INT32, v1::FLOAT32)}) {
    const absl::StatusOr<DecodedBlock> block = DecodeCountBlock(wire, kBounds, "part 0");
    ASSERT_TRUE(block.ok()) << block.status();
    EXPECT_THAT(block->counts.columns, testing::ElementsAre(1, 8));
    EXPECT_THAT(block->counts.values, testing::ElementsAre(3, 200));
  }
}

TEST(CountBlockTest, ChecksumIsZlibsOverTheArraysInOrder) {
  v1::CountBlock block;
  block.set_batch_codes("12");
  block.set_row_lengths("34");
  block.set_columns("567");
  block.set_values("89");
  EXPECT_EQ(CountBlockCrc32(block), 0xCBF43926u) << "the CRC-32 of \"123456789\"";
}

TEST(CountBlockTest, AWrongChecksumIsDataLossAndNamesThePart) {
  v1::CountBlock block = GoodBlock();
  (*block.mutable_values())[0] ^= 1;
  const absl::Status status = DecodeCountBlock(block, kBounds, "part 7").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "block.crc32");
  EXPECT_THAT(GetFieldViolation(status)->found, testing::HasSubstr("part 7"));
}

TEST(CountBlockTest, NamesMayBeLeftOutWhereNobodyNeedsThem) {
  v1::CountBlock block = GoodBlock();
  block.clear_cell_names();
  EXPECT_FALSE(DecodeCountBlock(block, kBounds, "block 0").ok());
  CountBlockBounds bounds = kBounds;
  bounds.need_names = false;
  EXPECT_TRUE(DecodeCountBlock(block, bounds, "block 0").ok());
  block.add_cell_names("only one");
  EXPECT_FALSE(DecodeCountBlock(block, bounds, "block 0").ok());
}

TEST(CountBlockTest, MoreCellsThanAnnouncedAreRefused) {
  CountBlockBounds bounds = kBounds;
  bounds.max_cells = 2;
  const absl::Status status = DecodeCountBlock(GoodBlock(), bounds, "part 0").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

struct HostileCase {
  std::string name;
  std::string field;
  std::function<void(v1::CountBlock&)> spoil;
};

class HostileBlockTest : public testing::TestWithParam<HostileCase> {};

TEST_P(HostileBlockTest, IsRefusedNamingTheField) {
  v1::CountBlock block = GoodBlock();
  GetParam().spoil(block);
  block.set_crc32(CountBlockCrc32(block));
  const absl::Status status = DecodeCountBlock(block, kBounds, "part 5").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  const std::optional<FieldViolation> violation = GetFieldViolation(status);
  ASSERT_TRUE(violation.has_value()) << status;
  EXPECT_EQ(violation->field, "block." + GetParam().field);
  EXPECT_THAT(violation->found, testing::HasSubstr("part 5"));
}

std::function<void(v1::CountBlock&)> Values(std::vector<float> values) {
  return [values](v1::CountBlock& block) { block.set_values(RawBytes(values)); };
}
std::function<void(v1::CountBlock&)> Columns(std::vector<int32_t> columns) {
  return [columns](v1::CountBlock& block) { block.set_columns(RawBytes(columns)); };
}
std::function<void(v1::CountBlock&)> Lengths(std::vector<int32_t> lengths) {
  return [lengths](v1::CountBlock& block) { block.set_row_lengths(RawBytes(lengths)); };
}
std::function<void(v1::CountBlock&)> Codes(std::vector<int32_t> codes) {
  return [codes](v1::CountBlock& block) { block.set_batch_codes(RawBytes(codes)); };
}

constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin = std::numeric_limits<int32_t>::min();

INSTANTIATE_TEST_SUITE_P(
    Blocks, HostileBlockTest,
    testing::Values(
        HostileCase{"Empty", "column_type", [](v1::CountBlock& block) { block.Clear(); }},
        HostileCase{"NoCells", "row_lengths", Lengths({})},
        HostileCase{"BrokenRowLengths", "row_lengths",
                    [](v1::CountBlock& block) { block.mutable_row_lengths()->pop_back(); }},
        HostileCase{"NegativeRowLength", "row_lengths", Lengths({2, -1, 2})},
        HostileCase{"LargestRowLength", "row_lengths", Lengths({kMax, kMax, kMax})},
        HostileCase{"SmallestRowLength", "row_lengths", Lengths({kMin, kMin, 3})},
        HostileCase{"RowLongerThanTheGenes", "row_lengths", Lengths({11, 0, 0})},
        HostileCase{"RowLengthsBeyondTheColumns", "columns", Lengths({2, 0, 2})},
        HostileCase{"RowLengthsBelowTheColumns", "columns", Lengths({2, 0, 0})},
        HostileCase{"FewerCodesThanCells", "batch_codes", Codes({0, 1})},
        HostileCase{"NegativeCode", "batch_codes", Codes({0, -1, 1})},
        HostileCase{"CodeBeyondTheList", "batch_codes", Codes({0, 2, 1})},
        HostileCase{"FewerNamesThanCells", "cell_names",
                    [](v1::CountBlock& block) { block.mutable_cell_names()->RemoveLast(); }},
        HostileCase{"MoreNamesThanCells", "cell_names",
                    [](v1::CountBlock& block) { block.add_cell_names("d"); }},
        HostileCase{"EmptyName", "cell_names",
                    [](v1::CountBlock& block) { block.set_cell_names(1, ""); }},
        HostileCase{"ColumnsDescend", "columns", Columns({9, 0, 4})},
        HostileCase{"ColumnTwice", "columns", Columns({9, 9, 4})},
        HostileCase{"NegativeColumn", "columns", Columns({-1, 9, 4})},
        HostileCase{"ColumnBeyondTheGenes", "columns", Columns({0, 10, 4})},
        HostileCase{"ColumnsOfTheOtherType", "columns",
                    [](v1::CountBlock& block) { block.set_column_type(v1::UINT16); }},
        HostileCase{"ColumnsOfNoType", "column_type",
                    [](v1::CountBlock& block) { block.clear_column_type(); }},
        HostileCase{"ColumnsOfAFloatType", "column_type",
                    [](v1::CountBlock& block) { block.set_column_type(v1::FLOAT32); }},
        HostileCase{"ValuesOfAnotherType", "values",
                    [](v1::CountBlock& block) { block.set_value_type(v1::UINT8); }},
        HostileCase{"ValuesOfNoType", "value_type",
                    [](v1::CountBlock& block) { block.clear_value_type(); }},
        HostileCase{
            "ValuesOfAnUnknownType", "value_type",
            [](v1::CountBlock& block) { block.set_value_type(static_cast<v1::DType>(99)); }},
        HostileCase{"FewerValuesThanColumns", "values", Values({1, 1})},
        HostileCase{"ZeroValue", "values", Values({1, 0, 1})},
        HostileCase{"NegativeValue", "values", Values({1, -1, 1})},
        HostileCase{"FractionalValue", "values", Values({1, 1.5f, 1})},
        HostileCase{"NotANumber", "values", Values({1, std::nanf(""), 1})},
        HostileCase{"Infinite", "values", Values({1, std::numeric_limits<float>::infinity(), 1})},
        HostileCase{"BeyondExactFloats", "values", Values({1, 16777218.0f, 1})}),
    [](const auto& instance) { return instance.param.name; });

TEST(CountBlockTest, CutAnywhereIsRefused) {
  const v1::CountBlock good = GoodBlock();
  const std::string bytes = good.SerializeAsString();
  for (size_t length = 0; length < bytes.size(); ++length) {
    v1::CountBlock block;
    if (!block.ParseFromString(bytes.substr(0, length))) continue;
    EXPECT_FALSE(DecodeCountBlock(block, kBounds, "part 0").ok()) << length << " bytes";
  }
}

}  // namespace
}  // namespace portolan::server
