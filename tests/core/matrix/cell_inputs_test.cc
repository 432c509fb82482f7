#include "core/matrix/cell_inputs.h"

#include <gmock/gmock.h>

namespace portolan {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CellAnnotationsTest, RowsKeepWhatBelongsToThem) {
  CellAnnotations all;
  all.n_categorical = 2;
  all.n_continuous = 1;
  all.categorical = {0, 1, 2, 3, 4, 5};
  all.continuous = {0.5f, 1.5f, 2.5f};
  all.labels = {7, -1, 9};
  const CellAnnotations some = all.SelectRows(std::vector<int64_t>{2, 0});
  EXPECT_THAT(some.categorical, ElementsAre(4, 5, 0, 1));
  EXPECT_THAT(some.continuous, ElementsAre(2.5f, 0.5f));
  EXPECT_THAT(some.labels, ElementsAre(9, 7));
  EXPECT_THAT(some.size_factors, IsEmpty());
  EXPECT_EQ(some.n_categorical, 2);
}

TEST(CellAnnotationsTest, CellsWithoutLabelsAreUnlabelled) {
  CellAnnotations all;
  CellAnnotations with;
  with.labels = {3, 1};
  all.Append({}, 0, 2);
  all.Append(with, 2, 2);
  all.Append({}, 4, 1);
  EXPECT_THAT(all.labels, ElementsAre(-1, -1, 3, 1, -1));
}

TEST(ProteinCountsTest, ABatchWithoutASingleCountDidNotMeasure) {
  const ProteinCounts proteins{2, {0, 5, 0, 0, 7, 0}, {}};
  EXPECT_THAT(MeasuredProteins(proteins, std::vector<int32_t>{0, 0, 1}, 3),
              ElementsAre(0, 1, 1, 0, 0, 0));
}

TEST(ProteinCountsTest, RowsKeepTheMaskOfTheBatches) {
  const ProteinCounts all{2, {1, 2, 3, 4}, {1, 0}};
  const ProteinCounts some = all.SelectRows(std::vector<int64_t>{1});
  EXPECT_THAT(some.values, ElementsAre(3, 4));
  EXPECT_THAT(some.measured, ElementsAre(1, 0));
}

}  // namespace
}  // namespace portolan
