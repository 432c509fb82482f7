#include "core/kernels/layers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/base/philox.h"

namespace portolan {
namespace {

std::vector<float> Normals(int64_t n, uint64_t item) {
  std::vector<float> out(n);
  FillNormal(1, RandomUse::kProbe, 0, item, out);
  return out;
}

struct Shape {
  int64_t rows;
  int64_t inputs;
  int64_t outputs;
};

const Shape kShapes[] = {{1, 1, 1},    {3, 10, 20},   {32, 128, 60}, {5, 128, 1287},
                         {7, 65, 129}, {32, 128, 64}, {2, 200, 63},  {31, 30, 128}};

class Product : public testing::TestWithParam<Shape> {
 protected:
  Product()
      : weight_(Normals(shape_.outputs * shape_.inputs, 1)),
        bias_(Normals(shape_.outputs, 2)),
        x_(Normals(shape_.rows * shape_.inputs, 3)),
        active_(shape_.rows, shape_.inputs) {
    const LinearView linear{weight_, bias_};
    matrix_ = PackedMatrix(shape_.inputs, {&linear, 1});
    AlignedBuffer<float> padded(shape_.rows * PaddedWidth(shape_.inputs));
    for (int64_t r = 0; r < shape_.rows; ++r) {
      for (int64_t k = 0; k < shape_.inputs; ++k) {
        padded[r * PaddedWidth(shape_.inputs) + k] = x_[r * shape_.inputs + k];
      }
    }
    Activate({.width = shape_.inputs}, shape_.rows, padded.data(), nullptr, active_);
  }

  Shape shape_ = GetParam();
  std::vector<float> weight_;
  std::vector<float> bias_;
  std::vector<float> x_;
  ActiveRows active_;
  PackedMatrix matrix_;
};

TEST_P(Product, ForwardIsTheProductOfTheReluAndTheWeight) {
  AlignedBuffer<float> out(shape_.rows * matrix_.stride());
  Multiply(matrix_, active_, shape_.rows, out.data());
  for (int64_t r = 0; r < shape_.rows; ++r) {
    for (int64_t o = 0; o < matrix_.stride(); ++o) {
      double want = o < shape_.outputs ? bias_[o] : 0;
      for (int64_t k = 0; k < shape_.inputs && o < shape_.outputs; ++k) {
        want += std::max(0.0, static_cast<double>(x_[r * shape_.inputs + k])) *
                weight_[o * shape_.inputs + k];
      }
      ASSERT_NEAR(out[r * matrix_.stride() + o], want, 2e-5) << r << ", " << o;
    }
  }
}

TEST_P(Product, BackwardGivesTheGradientOfActiveInputs) {
  const std::vector<float> gradient = Normals(shape_.rows * shape_.outputs, 4);
  AlignedBuffer<float> padded(shape_.rows * matrix_.stride());
  for (int64_t r = 0; r < shape_.rows; ++r) {
    for (int64_t o = 0; o < shape_.outputs; ++o) {
      padded[r * matrix_.stride() + o] = gradient[r * shape_.outputs + o];
    }
  }
  const int64_t stride = PaddedWidth(shape_.inputs);
  AlignedBuffer<float> out(shape_.rows * stride);
  AlignedBuffer<float> scratch(MultiplyTransposedScratch(shape_.rows, matrix_));
  MultiplyTransposed(matrix_, active_, shape_.rows, padded.data(), out.data(), stride,
                     scratch.data());
  for (int64_t r = 0; r < shape_.rows; ++r) {
    for (int64_t k = 0; k < stride; ++k) {
      double want = 0;
      const bool active = k < shape_.inputs && x_[r * shape_.inputs + k] > 0;
      for (int64_t o = 0; o < shape_.outputs && active; ++o) {
        want +=
            static_cast<double>(gradient[r * shape_.outputs + o]) * weight_[o * shape_.inputs + k];
      }
      ASSERT_NEAR(out[r * stride + k], want, 2e-4) << r << ", " << k;
    }
  }
}

TEST_P(Product, ARowsBitsDoNotDependOnTheRowsAroundIt) {
  AlignedBuffer<float> all(shape_.rows * matrix_.stride());
  Multiply(matrix_, active_, shape_.rows, all.data());
  AlignedBuffer<float> padded(PaddedWidth(shape_.inputs));
  for (int64_t r = 0; r < shape_.rows; ++r) {
    std::copy(x_.begin() + r * shape_.inputs, x_.begin() + (r + 1) * shape_.inputs, padded.data());
    ActiveRows alone(1, shape_.inputs);
    Activate({.width = shape_.inputs}, 1, padded.data(), nullptr, alone);
    AlignedBuffer<float> one(matrix_.stride());
    Multiply(matrix_, alone, 1, one.data());
    for (int64_t o = 0; o < shape_.outputs; ++o) {
      ASSERT_EQ(one[o], all[r * matrix_.stride() + o]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Product, testing::ValuesIn(kShapes));

TEST(PackedMatrixTest, PartsStandSideBySideOrAtPanels) {
  const std::vector<float> weight = {1, 2, 3, 4};
  const std::vector<float> bias = {5, 6};
  const LinearView parts[] = {{weight, bias, -7}, {weight, bias, 0}};
  const PackedMatrix close(2, parts);
  EXPECT_EQ(close.stride(), 64);
  EXPECT_EQ(close.bias()[2], 5);
  EXPECT_EQ(close.panel(0)[64 + 3], 4);
  const PackedMatrix apart = PackedMatrix::PanelAligned(2, parts);
  EXPECT_EQ(apart.stride(), 128);
  EXPECT_EQ(apart.bias()[2], -7);
  EXPECT_EQ(apart.bias()[63], -7);
  EXPECT_EQ(apart.bias()[64], 5);
  EXPECT_EQ(apart.bias()[66], 0);
  EXPECT_EQ(apart.panel(1)[64 + 1], 4);
}

// Loss: sum of weights times relu(norm(x)).
double ActivationLoss(const std::vector<double>& x, const std::vector<float>& weight, bool norm) {
  const auto n = static_cast<double>(x.size());
  double mean = 0;
  double var = 0;
  for (const double v : x) mean += v / n;
  for (const double v : x) var += (v - mean) * (v - mean) / n;
  double loss = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double y = norm ? (x[i] - mean) / std::sqrt(var + 1e-5) : x[i];
    loss += weight[i] * std::max(y, 0.0);
  }
  return loss;
}

TEST(ActivationTest, ForwardAndBackwardAgreeWithDefinitionAndDifferences) {
  for (const int64_t width : {1, 16, 37, 128}) {
    for (const bool norm : {false, true}) {
      const std::vector<float> x = Normals(width, 5);
      const std::vector<float> weight = Normals(width, 6);
      const std::vector<double> exact(x.begin(), x.end());
      AlignedBuffer<float> row(PaddedWidth(width));
      std::copy(x.begin(), x.end(), row.data());
      AlignedBuffer<float> inverse(1);
      ActiveRows active(1, width);
      Activate({width, norm}, 1, row.data(), inverse.data(), active);
      double loss = 0;
      AlignedBuffer<float> gradient(PaddedWidth(width));
      for (int32_t i = 0; i < active.count(0); ++i) {
        const auto k = static_cast<int64_t>(active.offsets(0)[i]) / kPanel;
        ASSERT_LT(k, width);
        loss += weight[k] * active.values(0)[i];
        gradient[k] = weight[k];
      }
      EXPECT_NEAR(loss, ActivationLoss(exact, weight, norm), 1e-4);
      ActivateBackward({width, norm}, 1, row.data(), inverse.data(), gradient.data());
      for (int64_t k = 0; k < width; ++k) {
        std::vector<double> up = exact;
        std::vector<double> down = exact;
        up[k] += 1e-6;
        down[k] -= 1e-6;
        const double numeric =
            (ActivationLoss(up, weight, norm) - ActivationLoss(down, weight, norm)) / 2e-6;
        EXPECT_NEAR(gradient[k], numeric, 1e-4) << width << norm << k;
      }
      for (int64_t k = width; k < PaddedWidth(width); ++k) EXPECT_EQ(gradient[k], 0);
    }
  }
}

TEST(ActivationTest, ANanStaysActive) {
  for (const bool norm : {false, true}) {
    AlignedBuffer<float> row(64);
    row[3] = std::numeric_limits<float>::quiet_NaN();
    AlignedBuffer<float> inverse(1);
    ActiveRows active(1, 10);
    Activate({10, norm}, 1, row.data(), inverse.data(), active);
    ASSERT_GT(active.count(0), 0);
    EXPECT_TRUE(std::isnan(active.values(0)[0]));
  }
}

TEST(SparseRowTest, IsTheFirstLinearOfTheLogarithmOfCounts) {
  const std::vector<int32_t> genes = {0, 3, 4, 17, 18, 19, 20, 39};
  const std::vector<float> counts = {1, 2, 5, 1, 1000000, 3, 1, 7};
  for (const int64_t width : {1, 16, 30, 128, 147, 256}) {
    const std::vector<float> weight_t = Normals(40 * width, 7);
    const std::vector<float> bias = Normals(width, 8);
    for (const bool log1p_counts : {false, true}) {
      AlignedBuffer<float> out(PaddedWidth(width));
      AlignedBuffer<float> scratch(static_cast<int64_t>(genes.size()) + 64);
      SparseRow(genes, counts, weight_t.data(), bias.data(), width, log1p_counts, scratch.data(),
                out.data());
      for (int64_t j = 0; j < width; ++j) {
        double want = bias[j];
        double size = 1;
        for (size_t i = 0; i < genes.size(); ++i) {
          const double x = log1p_counts ? std::log1p(counts[i]) : counts[i];
          want += x * weight_t[genes[i] * width + j];
          size += std::abs(x * weight_t[genes[i] * width + j]);
        }
        EXPECT_NEAR(out[j], want, 5e-7 * size);
      }
      for (int64_t j = width; j < PaddedWidth(width); ++j) EXPECT_EQ(out[j], 0);
    }
  }
}

TEST(ScaleAndShiftTest, IsElementwise) {
  AlignedBuffer<float> x(128);
  AlignedBuffer<float> scale(64);
  AlignedBuffer<float> shift(64);
  for (int i = 0; i < 40; ++i) {
    x[i] = static_cast<float>(i);
    x[64 + i] = 1;
    scale[i] = 2;
    shift[i] = static_cast<float>(-i);
  }
  ScaleAndShift(40, 2, scale.data(), shift.data(), x.data());
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(x[i], i < 40 ? i : 0);
    EXPECT_EQ(x[64 + i], i < 40 ? 2 - i : 0);
  }
}

}  // namespace
}  // namespace portolan
