#include "core/surgery/training_cells.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/philox.h"

namespace portolan {
namespace {

uint64_t CellId(const std::string& batch, int64_t i) {
  return StableHash64(absl::StrCat(batch, " cell ", i));
}

// Cells without counts.
TrainingCells MakeCells(const std::vector<std::pair<std::string, int64_t>>& batches) {
  TrainingCells cells;
  cells.counts.cols = 4;
  for (const auto& [name, size] : batches) {
    for (int64_t i = 0; i < size; ++i) {
      cells.batch_codes.push_back(static_cast<int32_t>(cells.batches.size()));
      cells.cell_ids.push_back(CellId(name, i));
      cells.counts.row_offsets.push_back(0);
    }
    cells.batches.push_back(name);
  }
  return cells;
}

std::set<uint64_t> Ids(const TrainingCells& cells, const std::vector<int64_t>& rows) {
  std::set<uint64_t> ids;
  for (const int64_t row : rows) ids.insert(cells.cell_ids[row]);
  return ids;
}

std::vector<int64_t> AllRows(const TrainingCells& cells) {
  std::vector<int64_t> rows(cells.cells());
  for (int64_t i = 0; i < cells.cells(); ++i) rows[i] = i;
  return rows;
}

struct SplitCase {
  int64_t cells;
  double share;
  int minibatch;
  int64_t train;
};

class SplitSizes : public testing::TestWithParam<SplitCase> {};

TEST_P(SplitSizes, EveryCellOnceOnOneSide) {
  const SplitCase& c = GetParam();
  const TrainingCells cells = MakeCells({{"q", c.cells}});
  const Split split = SplitCells(cells, 1, c.share, c.minibatch);
  EXPECT_EQ(static_cast<int64_t>(split.train.size()), c.train);
  std::vector<int64_t> all = split.train;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, AllRows(cells));
  EXPECT_TRUE(std::is_sorted(split.train.begin(), split.train.end()));
  EXPECT_TRUE(std::is_sorted(split.validation.begin(), split.validation.end()));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SplitSizes,
    testing::Values(SplitCase{1000, 0.9, 128, 900}, SplitCase{1001, 0.9, 128, 901},
                    SplitCase{1000, 1.0, 128, 1000},
                    SplitCase{143, 0.9, 128, 128},  // ceil(128.7) = 129 leaves one cell over
                    SplitCase{144, 0.9, 128, 128},  // ceil(129.6) = 130 leaves two
                    SplitCase{145, 0.9, 128, 131},  // three stay

                    SplitCase{259, 1.0, 64, 259}, SplitCase{1, 0.9, 128, 1},
                    SplitCase{2, 0.9, 128, 2},
                    SplitCase{3, 0.5, 128, 2},  // fewer than a minibatch: nothing moves
                    SplitCase{10, 0.05, 128, 1}),
    [](const auto& test) {
      return absl::StrCat("cells", test.param.cells, "_train", test.param.train, "_of",
                          test.param.minibatch);
    });

TEST(SplitCellsTest, WithoutAValidationShareALastOneOrTwoAreLeftOut) {
  for (const auto& [cells, train] : {std::pair{256, 256}, {257, 256}, {258, 256}, {259, 259}}) {
    const Split split = SplitCells(MakeCells({{"q", cells}}), 1, 1.0, 64);
    EXPECT_EQ(split.train.size(), static_cast<size_t>(train));
    EXPECT_TRUE(split.validation.empty());
  }
}

TEST(SplitCellsTest, DependsOnTheSeed) {
  const TrainingCells cells = MakeCells({{"q", 400}});
  const Split one = SplitCells(cells, 1, 0.9, 128);
  EXPECT_EQ(SplitCells(cells, 1, 0.9, 128).validation, one.validation);
  EXPECT_NE(SplitCells(cells, 2, 0.9, 128).validation, one.validation);
}

TEST(SplitCellsTest, DoesNotDependOnTheOrderOfBatches) {
  const TrainingCells one = MakeCells({{"a", 100}, {"b", 60}, {"c", 40}});
  const TrainingCells other = MakeCells({{"c", 40}, {"a", 100}, {"b", 60}});
  EXPECT_EQ(Ids(one, SplitCells(one, 1, 0.9, 128).validation),
            Ids(other, SplitCells(other, 1, 0.9, 128).validation));
}

TEST(SplitCellsTest, TakesAboutTheSameShareOfEveryBatch) {
  const TrainingCells cells = MakeCells({{"a", 3000}, {"b", 3000}});
  const Split split = SplitCells(cells, 1, 0.9, 128);
  const auto of_a = std::count_if(split.validation.begin(), split.validation.end(),
                                  [](int64_t row) { return row < 3000; });
  // 600 cells, half of them each: 300 with a deviation of 12.
  EXPECT_NEAR(static_cast<double>(of_a), 300, 60);
}

TEST(ShuffleRowsTest, IsAPermutationThatDiffersByEpochAndSeed) {
  const TrainingCells cells = MakeCells({{"a", 200}, {"b", 100}});
  const std::vector<int64_t> rows = AllRows(cells);
  std::set<std::vector<int64_t>> orders;
  for (const uint64_t seed : {0, 1}) {
    for (int epoch = 0; epoch < 5; ++epoch) {
      std::vector<int64_t> order = ShuffleRows(cells, rows, seed, epoch);
      EXPECT_EQ(order, ShuffleRows(cells, rows, seed, epoch));
      EXPECT_TRUE(orders.insert(order).second) << "seed " << seed << " epoch " << epoch;
      EXPECT_NE(order, rows);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, rows);
    }
  }
}

TEST(ShuffleRowsTest, VisitsOnlyWhatItIsGiven) {
  const TrainingCells cells = MakeCells({{"a", 50}});
  const std::vector<int64_t> some = {1, 4, 9, 16, 25, 36, 49};
  const std::vector<int64_t> order = ShuffleRows(cells, some, 3, 0);
  EXPECT_THAT(order, testing::UnorderedElementsAreArray(some));
  EXPECT_TRUE(ShuffleRows(cells, {}, 3, 0).empty());
}

TEST(ShuffleRowsTest, DoesNotDependOnTheOrderOfBatches) {
  const TrainingCells one = MakeCells({{"a", 100}, {"b", 60}});
  const TrainingCells other = MakeCells({{"b", 60}, {"a", 100}});
  std::vector<uint64_t> of_one, of_other;
  for (const int64_t row : ShuffleRows(one, AllRows(one), 1, 2)) {
    of_one.push_back(one.cell_ids[row]);
  }
  for (const int64_t row : ShuffleRows(other, AllRows(other), 1, 2)) {
    of_other.push_back(other.cell_ids[row]);
  }
  EXPECT_EQ(of_one, of_other);
}

TEST(ShuffleRowsTest, MixesTheBatches) {
  const TrainingCells cells = MakeCells({{"a", 500}, {"b", 500}});
  const std::vector<int64_t> order = ShuffleRows(cells, AllRows(cells), 1, 0);
  const auto of_a =
      std::count_if(order.begin(), order.begin() + 128, [](int64_t row) { return row < 500; });
  EXPECT_NEAR(static_cast<double>(of_a), 64, 30);  // a deviation of 5.3
}

std::vector<float> Normals(CellNoise& noise, const std::vector<int64_t>& rows, int64_t width = 5) {
  std::vector<float> out(rows.size() * width);
  noise.Normal(RandomUse::kLatentNoise, rows, width, out.data());
  return out;
}

std::vector<float> Uniforms(CellNoise& noise, const std::string& stream,
                            const std::vector<int64_t>& rows) {
  std::vector<float> out(rows.size() * 5);
  noise.Uniform(stream, rows, 5, out.data());
  return out;
}

TEST(CellNoiseTest, BelongsToCellsNotToPositions) {
  const TrainingCells cells = MakeCells({{"a", 20}, {"b", 20}});
  CellNoise noise(7, cells);
  const std::vector<float> all = Normals(noise, AllRows(cells));
  const std::vector<float> uniform = Uniforms(noise, "layer", AllRows(cells));
  const std::vector<int64_t> some = {33, 2, 17, 33};
  const std::vector<float> part = Normals(noise, some);
  const std::vector<float> uniform_part = Uniforms(noise, "layer", some);
  for (size_t i = 0; i < some.size(); ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      EXPECT_EQ(part[i * 5 + j], all[some[i] * 5 + j]);
      EXPECT_EQ(uniform_part[i * 5 + j], uniform[some[i] * 5 + j]);
    }
  }
}

TEST(CellNoiseTest, IsTheSameWhateverElseIsMapped) {
  const TrainingCells alone = MakeCells({{"b", 20}});
  const TrainingCells together = MakeCells({{"a", 10}, {"b", 20}});
  CellNoise one(7, alone);
  CellNoise other(7, together);
  std::vector<int64_t> rows = AllRows(alone);
  const std::vector<float> first = Normals(one, rows);
  for (int64_t& row : rows) row += 10;
  EXPECT_EQ(first, Normals(other, rows));
}

TEST(CellNoiseTest, AWiderDrawBeginsWithTheNarrowerOne) {
  const TrainingCells cells = MakeCells({{"a", 1}});
  CellNoise noise(7, cells);
  const std::vector<float> five = Normals(noise, {0}, 5);
  const std::vector<float> eleven = Normals(noise, {0}, 11);
  EXPECT_TRUE(std::equal(five.begin(), five.end(), eleven.begin()));
}

TEST(CellNoiseTest, DiffersByCellBatchEpochSeedUseAndStream) {
  TrainingCells cells = MakeCells({{"a", 2}, {"b", 1}});
  cells.cell_ids[2] = cells.cell_ids[0];  // the same name in another batch
  CellNoise noise(7, cells);
  CellNoise other_seed(8, cells);
  std::set<std::vector<float>> draws;
  draws.insert(Normals(noise, {0}));
  draws.insert(Normals(noise, {1}));
  draws.insert(Normals(noise, {2}));
  draws.insert(Normals(other_seed, {0}));
  std::vector<float> elbo(5);
  const std::vector<int64_t> row = {0};
  noise.Normal(RandomUse::kElboNoise, row, 5, elbo.data());
  draws.insert(elbo);
  draws.insert(Uniforms(noise, "z_encoder.0", {0}));
  draws.insert(Uniforms(noise, "z_encoder.1", {0}));
  noise.set_epoch(1);
  draws.insert(Normals(noise, {0}));
  draws.insert(Uniforms(noise, "z_encoder.0", {0}));
  EXPECT_EQ(draws.size(), 9u);
}

TEST(CellNoiseTest, NormalsAreStandard) {
  const TrainingCells cells = MakeCells({{"a", 4000}});
  CellNoise noise(7, cells);
  double sum = 0, squares = 0;
  const std::vector<float> draws = Normals(noise, AllRows(cells));
  for (const float draw : draws) {
    sum += draw;
    squares += static_cast<double>(draw) * draw;
  }
  const double n = static_cast<double>(draws.size());
  EXPECT_NEAR(sum / n, 0, 0.035);     // 5 deviations of 1 / sqrt(20000)
  EXPECT_NEAR(squares / n, 1, 0.05);  // 5 deviations of sqrt(2 / 20000)
}

}  // namespace
}  // namespace portolan
