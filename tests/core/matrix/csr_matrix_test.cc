#include "core/matrix/csr_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace portolan {
namespace {

using testing::ElementsAre;

CsrMatrix Example() { return {4, {0, 2, 2, 3}, {0, 3, 1}, {5, 6, 7}}; }

TEST(CsrMatrix, AppendsRows) {
  CsrMatrix matrix;
  matrix.cols = 4;
  matrix.Append(Example());
  matrix.Append(Example());
  EXPECT_EQ(matrix.rows(), 6);
  EXPECT_THAT(matrix.row_offsets, ElementsAre(0, 2, 2, 3, 5, 5, 6));
  EXPECT_THAT(matrix.row_columns(3), ElementsAre(0, 3));
  EXPECT_THAT(matrix.row_values(5), ElementsAre(7));
}

TEST(CsrMatrix, SelectsRowsInTheOrderAsked) {
  const std::vector<int64_t> rows = {2, 0, 2, 1};
  const CsrMatrix out = Example().SelectRows(rows);
  EXPECT_EQ(out.cols, 4);
  EXPECT_THAT(out.row_offsets, ElementsAre(0, 1, 3, 4, 4));
  EXPECT_THAT(out.columns, ElementsAre(1, 0, 3, 1));
  EXPECT_THAT(out.values, ElementsAre(7, 5, 6, 7));
}

}  // namespace
}  // namespace portolan
