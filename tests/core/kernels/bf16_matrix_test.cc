#include "core/kernels/bf16_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/philox.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

std::vector<float> Normals(int64_t n, uint64_t item) {
  std::vector<float> out(n);
  FillNormal(1, RandomUse::kProbe, 0, item, out);
  return out;
}

// Rounded to 8 bits of significand, by arithmetic.
double Rounded(float x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

struct Shape {
  int64_t rows;
  int64_t inputs;
  int64_t outputs;
};

class Bf16MatrixTest : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    if (!Bf16Matrix::Supported()) GTEST_SKIP() << "this processor has no AVX512-BF16";
    weight_ = Normals(shape_.outputs * shape_.inputs, 1);
    const std::vector<float> bias(shape_.outputs);
    const LinearView linear{weight_, bias};
    matrix_ = PackedMatrix(shape_.inputs, {&linear, 1});
    const std::vector<float> x = Normals(shape_.rows * shape_.inputs, 3);
    AlignedBuffer<float> padded(shape_.rows * stride_);
    for (int64_t r = 0; r < shape_.rows; ++r) {
      for (int64_t k = 0; k < shape_.inputs; ++k) {
        padded[r * stride_ + k] = x[r * shape_.inputs + k];
      }
    }
    active_ = ActiveRows(shape_.rows, shape_.inputs);
    Activate({.width = shape_.inputs}, shape_.rows, padded.data(), nullptr, active_);
    positive_.resize(x.size());
    for (size_t i = 0; i < x.size(); ++i) positive_[i] = x[i] > 0;
    gradient_ = Normals(shape_.rows * shape_.outputs, 4);
  }

  std::vector<float> Multiply(int64_t first_row, int64_t rows) const {
    AlignedBuffer<float> padded(rows * matrix_.stride());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < shape_.outputs; ++o) {
        padded[r * matrix_.stride() + o] = gradient_[(first_row + r) * shape_.outputs + o];
      }
    }
    ActiveRows active(rows, shape_.inputs);
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t count = active_.count(first_row + r);
      std::copy_n(active_.offsets(first_row + r), count, active.offsets(r));
      active.Close(r, count);
    }
    const Bf16Matrix rounded(matrix_);
    Bf16Matrix::Scratch scratch(rounded, rows);
    std::vector<float> out(rows * stride_, 7.0f);
    rounded.MultiplyTransposed(active, rows, padded.data(), out.data(), stride_, scratch);
    return out;
  }

  Shape shape_ = GetParam();
  int64_t stride_ = PaddedWidth(GetParam().inputs);
  std::vector<float> weight_;
  std::vector<float> gradient_;
  std::vector<bool> positive_;
  ActiveRows active_;
  PackedMatrix matrix_;
};

TEST_P(Bf16MatrixTest, MultipliesWhatWasRounded) {
  const std::vector<float> out = Multiply(0, shape_.rows);
  for (int64_t r = 0; r < shape_.rows; ++r) {
    for (int64_t k = 0; k < stride_; ++k) {
      double want = 0;
      const bool active = k < shape_.inputs && positive_[r * shape_.inputs + k];
      for (int64_t o = 0; active && o < shape_.outputs; ++o) {
        want +=
            Rounded(gradient_[r * shape_.outputs + o]) * Rounded(weight_[o * shape_.inputs + k]);
      }
      ASSERT_NEAR(out[r * stride_ + k], want, 1e-4) << r << ", " << k;
    }
  }
}

TEST_P(Bf16MatrixTest, ARowDoesNotDependOnTheOthers) {
  const std::vector<float> all = Multiply(0, shape_.rows);
  for (int64_t r = 0; r < shape_.rows; ++r) {
    const std::vector<float> one = Multiply(r, 1);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + r * stride_)) << r;
  }
}

TEST_P(Bf16MatrixTest, ANanStaysOne) {
  gradient_[0] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = Multiply(0, shape_.rows);
  for (int64_t k = 0; k < shape_.inputs; ++k) {
    EXPECT_EQ(std::isnan(out[k]), positive_[k]) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Bf16MatrixTest,
                         testing::Values(Shape{1, 1, 1}, Shape{3, 10, 20}, Shape{32, 128, 60},
                                         Shape{5, 128, 1287}, Shape{7, 65, 129}, Shape{2, 200, 63},
                                         Shape{31, 30, 512}),
                         [](const auto& test) {
                           return std::to_string(test.param.rows) + "x" +
                                  std::to_string(test.param.inputs) + "x" +
                                  std::to_string(test.param.outputs);
                         });

}  // namespace
}  // namespace portolan
