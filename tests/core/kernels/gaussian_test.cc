#include "core/kernels/gaussian.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/philox.h"

namespace portolan {
namespace {

std::vector<float> Normals(int64_t n, uint64_t item) {
  std::vector<float> out(n);
  FillNormal(2, RandomUse::kProbe, 0, item, out);
  return out;
}

constexpr double kEpsilon = 1e-4;
constexpr double kKlWeight = 0.7;
constexpr double kDensityWeight = 1.0;

struct Terms {
  double kl = 0;
  double log_density = 0;
  double along = 0;
};

Terms Exact(const std::vector<double>& heads, const std::vector<float>& noise,
            const std::vector<float>& by_z) {
  const size_t n = noise.size();
  Terms terms;
  for (size_t i = 0; i < n; ++i) {
    const double var = std::exp(heads[n + i]) + kEpsilon;
    terms.kl += 0.5 * (var + heads[i] * heads[i] - 1 - std::log(var));
    terms.log_density -= 0.5 * std::log(var);
    terms.along += by_z[i] * (heads[i] + std::sqrt(var) * noise[i]);
  }
  return terms;
}

TEST(GaussianTest, SampleKlAndGradientAgreeWithDoublePrecision) {
  for (const int64_t width : {1, 10, 16, 20, 30, 64}) {
    const std::vector<float> heads = Normals(2 * width, 1);
    const std::vector<float> noise = Normals(width, 2);
    const std::vector<float> by_z = Normals(width, 3);
    std::vector<float> var(width), z(width), by_heads(2 * width);
    SampleGaussian(width, heads.data(), static_cast<float>(kEpsilon), noise.data(), var.data(),
                   z.data());
    const std::vector<double> exact(heads.begin(), heads.end());
    const Terms want = Exact(exact, noise, by_z);
    EXPECT_NEAR(KlFromStandard(width, heads.data(), var.data()), want.kl, 1e-5 * (1 + want.kl));
    EXPECT_NEAR(0.5 * NegativeLogVariances(width, var.data()), want.log_density, 1e-5 * width);
    for (int64_t i = 0; i < width; ++i) {
      EXPECT_NEAR(z[i], exact[i] + std::sqrt(std::exp(exact[width + i]) + kEpsilon) * noise[i],
                  1e-5);
    }
    SampleGaussianBackward(width, heads.data(), noise.data(), var.data(), by_z.data(),
                           static_cast<float>(kKlWeight), static_cast<float>(kDensityWeight),
                           by_heads.data());
    const auto loss = [&](const std::vector<double>& at) {
      const Terms t = Exact(at, noise, by_z);
      return t.along + kKlWeight * t.kl + kDensityWeight * t.log_density;
    };
    for (int64_t i = 0; i < 2 * width; ++i) {
      std::vector<double> up = exact;
      std::vector<double> down = exact;
      up[i] += 1e-6;
      down[i] -= 1e-6;
      EXPECT_NEAR(by_heads[i], (loss(up) - loss(down)) / 2e-6, 1e-4) << width << ", " << i;
    }
  }
}

TEST(GaussianTest, NegativeLogDensityAndGradientAgreeWithDoublePrecision) {
  for (const int64_t width : {1, 10, 20, 33}) {
    const std::vector<float> heads = Normals(2 * width, 4);
    const std::vector<float> z = Normals(width, 5);
    const std::vector<float> before = Normals(width, 6);
    std::vector<float> by_z = before;
    std::vector<float> by_heads(2 * width);
    const float got =
        NegativeLogDensity(width, z.data(), heads.data(), 0.3f, by_heads.data(), by_z.data());
    const auto loss = [&](std::vector<double> all) {  // z, means, log variances
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        const double deviation = all[i] - all[width + i];
        sum += 0.5 * (deviation * deviation * std::exp(-all[2 * width + i]) + all[2 * width + i] +
                      std::log(2 * M_PI));
      }
      return sum;
    };
    std::vector<double> at(z.begin(), z.end());
    at.insert(at.end(), heads.begin(), heads.end());
    EXPECT_NEAR(got, loss(at), 1e-5 * (1 + std::abs(loss(at))));
    for (int64_t i = 0; i < 3 * width; ++i) {
      std::vector<double> up = at;
      std::vector<double> down = at;
      up[i] += 1e-6;
      down[i] -= 1e-6;
      const double numeric = 0.3 * (loss(up) - loss(down)) / 2e-6;
      const float analytic = i < width ? by_z[i] - before[i] : by_heads[i - width];
      EXPECT_NEAR(analytic, numeric, 1e-4 * (1 + std::abs(numeric)));
    }
  }
}

TEST(GaussianTest, SoftmaxSumsToOneAndKeepsSmallOnes) {
  std::vector<float> logits = {0, -20, 3, -200, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 0, 4};
  std::vector<double> want;
  double sum = 0;
  for (const float v : logits) {
    want.push_back(std::exp(static_cast<double>(v)));
    sum += want.back();
  }
  Softmax(static_cast<int64_t>(logits.size()), logits.data());
  for (size_t i = 0; i < logits.size(); ++i) {
    EXPECT_NEAR(logits[i], want[i] / sum, 3e-7 * want[i] / sum + 1e-38);
  }
  EXPECT_EQ(logits[3], 0);
}

}  // namespace
}  // namespace portolan
