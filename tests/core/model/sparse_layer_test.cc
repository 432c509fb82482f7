#include "core/model/sparse_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr int64_t kWidth = 9;

struct Layer {
  std::vector<float> weight_t;  // (genes, width)
  std::vector<float> bias;
};

Layer RandomLayer(int64_t genes) {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  Layer layer;
  for (int64_t i = 0; i < genes * kWidth; ++i) layer.weight_t.push_back(normal(random));
  for (int64_t i = 0; i < kWidth; ++i) layer.bias.push_back(normal(random));
  return layer;
}

std::vector<float> Product(const Layer& layer, const std::vector<int64_t>& rows, bool log1p) {
  std::vector<float> out(rows.size() * kWidth, -1.0f);
  SparseFirstLayer(Cells().counts, rows, layer.weight_t.data(), layer.bias.data(), kWidth, log1p,
                   out.data());
  return out;
}

TEST(SparseFirstLayerTest, IsTheDenseProduct) {
  const CsrMatrix& counts = Cells().counts;
  const Layer layer = RandomLayer(counts.cols);
  const std::vector<int64_t> rows = {3, 0, 199, 17, 3};
  std::vector<float> dense(rows.size() * counts.cols, -1.0f);
  DenseRows(counts, rows, dense.data());
  for (const bool log1p : {true, false}) {
    const std::vector<float> got = Product(layer, rows, log1p);
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int64_t j = 0; j < kWidth; ++j) {
        double sum = layer.bias[j];
        double size = std::abs(sum);
        for (int64_t g = 0; g < counts.cols; ++g) {
          const double x = dense[i * counts.cols + g];
          const double term = (log1p ? std::log1p(x) : x) * layer.weight_t[g * kWidth + j];
          sum += term;
          size += std::abs(term);
        }
        EXPECT_NEAR(got[i * kWidth + j], sum, 1e-6 * size) << "row " << rows[i] << " unit " << j;
      }
    }
  }
}

TEST(SparseFirstLayerTest, ARowIsTheSameWhateverStandsAroundIt) {
  const Layer layer = RandomLayer(Cells().counts.cols);
  const std::vector<float> all = Product(layer, Range(0, 200), true);
  for (const int64_t row : {0, 1, 77, 199}) {
    const std::vector<float> alone = Product(layer, {row}, true);
    EXPECT_EQ(alone,
              std::vector<float>(all.begin() + row * kWidth, all.begin() + (row + 1) * kWidth));
  }
}

TEST(SparseFirstLayerTest, AnEmptyCellIsTheBias) {
  const Layer layer = RandomLayer(4);
  const CsrMatrix empty = ToCsr(1, 4, {0, 0, 0, 0});
  std::vector<float> out(kWidth);
  const std::vector<int64_t> rows = {0};
  SparseFirstLayer(empty, rows, layer.weight_t.data(), layer.bias.data(), kWidth, true, out.data());
  EXPECT_EQ(out, layer.bias);
}

TEST(DenseRowsTest, CopiesRowsInTheOrderAskedFor) {
  const CsrMatrix counts = ToCsr(3, 3, {0, 1, 2, 0, 0, 0, 5, 0, 7});
  std::vector<float> out(9, -1.0f);
  const std::vector<int64_t> rows = {2, 1, 0};
  DenseRows(counts, rows, out.data());
  EXPECT_EQ(out, (std::vector<float>{5, 0, 7, 0, 0, 0, 0, 1, 2}));
}

}  // namespace
}  // namespace portolan
