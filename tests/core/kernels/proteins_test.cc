#include "core/kernels/proteins.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/philox.h"

namespace portolan {
namespace {

constexpr double kEpsilon = 1e-8;

using Values = std::vector<double>;

// A cell's inputs; also their gradient.
struct Inputs {
  Values a, u, f, m, prior_mean, prior_log_deviation;
};
constexpr Values Inputs::*kInputs[] = {&Inputs::a,          &Inputs::u,
                                       &Inputs::f,          &Inputs::m,
                                       &Inputs::prior_mean, &Inputs::prior_log_deviation};

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double LogAddExp(double a, double b) {
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

// scvi-tools' formulas in double, theta log(theta / (theta + mu)) by log1p.
double LogNb(double x, double mu, double theta) {
  return x * (std::log(mu + kEpsilon) - std::log(theta + mu + kEpsilon)) -
         theta * std::log1p(mu / (theta + kEpsilon));
}

struct Case {
  std::string name;
  int64_t proteins = 100;
  double log_theta_shift = 0;
  double log_theta_spread = 1;
  double count_scale = 20;  // 0: no counts
  double missing = 0;       // share of the proteins
  double back_spread = 1;
  double mixing_spread = 2;
  double prior_shift = 0;
};

const Case kCases[] = {
    {"Typical"},
    {"SomeMissing", 100, 0, 1, 20, 0.4},
    {"AllMissing", 14, 0, 1, 20, 1},
    {"ThetaTiny", 100, -25},
    {"ThetaHuge", 100, 20},
    {"ThetaEverything", 100, 0, 10},
    {"NoCounts", 100, 0, 1, 0},
    {"LargeCounts", 100, 0, 1, 50000, 0, 4},
    {"FaintBackground", 100, 0, 1, 20, 0, 12},
    {"SharpMixing", 100, 0, 1, 20, 0, 1, 40},
    {"NarrowPrior", 100, 0, 1, 20, 0, 1, 2, -5},
    {"OneProtein", 1},
    {"FullPanel", 64},
    {"OneMoreThanAPanel", 65},
};

class Proteins : public testing::TestWithParam<std::tuple<Case, BackgroundScale, bool>> {
 protected:
  Proteins() {
    const int64_t n = case_.proteins;
    std::vector<float> draws(12 * n);
    FillNormal(5, RandomUse::kProbe, 0, 1, draws);
    const auto draw = [&](int64_t which, int64_t i) {
      return static_cast<double>(draws[which * n + i]);
    };
    std::vector<float> uniforms(n);
    FillUniform(5, RandomUse::kProbe, 0, 2, uniforms);
    for (int64_t i = 0; i < n; ++i) {
      theta_.push_back(static_cast<float>(
          std::exp(case_.log_theta_shift + case_.log_theta_spread * draw(0, i))));
      log_efficiency_.push_back(static_cast<float>(0.3 * draw(1, i)));
      measured_.push_back(uniforms[i] < case_.missing ? 0.0f : 1.0f);
      counts_.push_back(static_cast<float>(std::floor(case_.count_scale * std::abs(draw(2, i)))));
      if (i % 3 == 0) counts_.back() = 0;
      noise_.push_back(static_cast<float>(draw(3, i)));
      // What a float holds, so that both sides start from the same numbers.
      const auto rounded = [](double x) { return static_cast<double>(static_cast<float>(x)); };
      at_.a.push_back(rounded(case_.back_spread * draw(4, i)));
      at_.u.push_back(rounded(0.7 * draw(5, i) - 0.5));
      at_.f.push_back(rounded(2 * draw(6, i)));
      at_.m.push_back(rounded(case_.mixing_spread * draw(7, i)));
      at_.prior_mean.push_back(rounded(draw(8, i)));
      at_.prior_log_deviation.push_back(rounded(case_.prior_shift + 0.5 * draw(9, i)));
    }
  }

  double DeviationOf(double u) const {
    if (scale_ == BackgroundScale::kExp) return std::exp(u);
    return Softplus(u) + (scale_ == BackgroundScale::kSoftplusFloor ? kEpsilon : 0);
  }

  // Reconstruction and KL of some proteins; `size`: of the sums' terms.
  std::pair<double, double> Exact(const Inputs& in, size_t begin, size_t end,
                                  double* size = nullptr) const {
    double reconstruction = 0;
    double kl = 0;
    for (size_t i = begin; i < end; ++i) {
      const double b = DeviationOf(in.u[i]);
      if (efficient_) {
        const double e = log_efficiency_[i];
        kl += 0.5 * e * e + e + 0.5 * std::log(2 * std::numbers::pi) + 1e-3 * Softplus(-in.m[i]);
      }
      if (measured_[i] == 0) continue;
      const double back =
          std::exp(in.a[i] + b * noise_[i]) * (efficient_ ? std::exp(log_efficiency_[i]) : 1.0);
      const double fore = back * (std::max(in.f[i], 0.0) + 1 + kEpsilon);
      const double c1 = LogNb(counts_[i], back, theta_[i]);
      const double c2 = LogNb(counts_[i], fore, theta_[i]) - in.m[i];
      reconstruction -= LogAddExp(c1, c2) - Softplus(-in.m[i]);
      const double prior = std::exp(in.prior_log_deviation[i]);
      const double ratio = b / prior;
      const double shift = (in.a[i] - in.prior_mean[i]) / prior;
      kl += 0.5 * (ratio * ratio + shift * shift - 1 - 2 * std::log(ratio));
      if (size == nullptr) continue;
      *size += std::abs(c1) + std::abs(c2) + counts_[i] + ratio * ratio + shift * shift + 1;
    }
    return {reconstruction, kl};
  }

  // Of protein i.
  double Weighted(const Inputs& in, size_t i) const {
    const auto [reconstruction, kl] = Exact(in, i, i + 1);
    return kWeights.reconstruction * reconstruction + kWeights.kl * kl;
  }

  static constexpr ProteinWeights kWeights = {0.7f, 0.3f};
  Case case_ = std::get<0>(GetParam());
  BackgroundScale scale_ = std::get<1>(GetParam());
  bool efficient_ = std::get<2>(GetParam());
  std::vector<float> theta_;
  std::vector<float> log_efficiency_;
  std::vector<float> measured_;
  std::vector<float> counts_;
  std::vector<float> noise_;
  Inputs at_;
};

TEST_P(Proteins, TermsAndGradientAgreeWithDoublePrecision) {
  const auto n = static_cast<int64_t>(theta_.size());
  const FrozenProteins frozen(
      theta_, efficient_ ? std::span<const float>(log_efficiency_) : std::span<const float>(),
      measured_);
  constexpr float kUntouched = -77;
  std::vector<std::vector<float>> rows;
  for (const auto input : kInputs) {
    rows.emplace_back((at_.*input).begin(), (at_.*input).end());
    rows.back().push_back(kUntouched);
  }
  std::vector<float> by_mean(n + 1, kUntouched);
  std::vector<float> by_log_deviation(n + 1, kUntouched);
  const ProteinTerms got = ProteinTermsAndGradient(
      scale_, frozen, n, counts_.data(), noise_.data(), kWeights,
      {rows[4].data(), rows[5].data(), by_mean.data(), by_log_deviation.data()},
      {rows[0].data(), rows[1].data(), rows[2].data(), rows[3].data()});
  rows[4] = by_mean;
  rows[5] = by_log_deviation;
  double size = 1;
  const auto [reconstruction, kl] = Exact(at_, 0, theta_.size(), &size);
  EXPECT_NEAR(got.reconstruction, reconstruction, 2e-6 * size);
  EXPECT_NEAR(got.kl, kl, 2e-6 * (size + std::abs(kl)));
  for (size_t which = 0; which < rows.size(); ++which) {
    EXPECT_EQ(rows[which][n], kUntouched);
    for (int64_t i = 0; i < n; ++i) {
      constexpr double kStep = 1e-5;
      Inputs up = at_;
      Inputs down = at_;
      (up.*kInputs[which])[i] += kStep;
      (down.*kInputs[which])[i] -= kStep;
      const double want = (Weighted(up, i) - Weighted(down, i)) / (2 * kStep);
      ASSERT_NEAR(rows[which][i], want, 2e-5 * (1 + std::abs(want) + counts_[i]))
          << which << " " << i;
    }
  }
}

std::string NameOf(const testing::TestParamInfo<Proteins::ParamType>& test) {
  const char* const names[] = {"Exp", "Softplus", "SoftplusFloor"};
  return std::get<0>(test.param).name + names[static_cast<int>(std::get<1>(test.param))] +
         (std::get<2>(test.param) ? "Efficiency" : "");
}

INSTANTIATE_TEST_SUITE_P(Cases, Proteins,
                         testing::Combine(testing::ValuesIn(kCases),
                                          testing::Values(BackgroundScale::kExp,
                                                          BackgroundScale::kSoftplus,
                                                          BackgroundScale::kSoftplusFloor),
                                          testing::Bool()),
                         NameOf);

class OneProtein : public testing::Test {
 protected:
  ProteinTerms Run(float a, float measured) {
    a_ = a;
    const std::vector<float> theta = {1.0f};
    return ProteinTermsAndGradient(BackgroundScale::kSoftplusFloor,
                                   FrozenProteins(theta, {}, {&measured, 1}), 1, &count_, &noise_,
                                   {}, {&mean_, &mean_, &by_mean_, &by_log_}, {&a_, &u_, &f_, &m_});
  }

  float a_ = 0, u_ = 0, f_ = 0, m_ = 0;
  float count_ = 3, noise_ = 0, mean_ = 0, by_mean_ = 0, by_log_ = 0;
};

TEST_F(OneProtein, WhatIsNoNumberReachesTheLoss) {
  EXPECT_TRUE(std::isnan(Run(std::nanf(""), 1).reconstruction));
  EXPECT_TRUE(std::isnan(Run(100, 1).reconstruction)) << "a rate beyond float32";
}

TEST_F(OneProtein, AMissingProteinIsNothing) {
  const ProteinTerms terms = Run(100, 0);
  EXPECT_EQ(terms.reconstruction, 0);
  EXPECT_EQ(terms.kl, 0);
  for (const float g : {a_, u_, f_, m_, by_mean_, by_log_}) EXPECT_EQ(g, 0);
}

}  // namespace
}  // namespace portolan
