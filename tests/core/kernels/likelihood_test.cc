#include "core/kernels/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/philox.h"

namespace portolan {
namespace {

constexpr double kEpsilon = 1e-8;

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// scvi-tools' formulas in double, theta log(theta / (theta + mu)) by log1p.
double GeneLoss(CountLikelihood likelihood, double x, double mu, double theta, double dropout) {
  if (likelihood == CountLikelihood::kPoisson) {
    return mu - (x > 0 ? x * std::log(std::max(mu, 1.1754943508222875e-38)) : 0);
  }
  const double zero_term = -theta * std::log1p(mu / (theta + kEpsilon));
  const double count_term = x * (std::log(mu + kEpsilon) - std::log(theta + mu + kEpsilon));
  if (likelihood == CountLikelihood::kNb) return -(zero_term + count_term);
  const double t = zero_term - dropout;
  return Softplus(-dropout) - (x > 0 ? t + count_term : Softplus(t));
}

struct Case {
  std::string name;
  double log_theta_shift = 0;
  double log_theta_spread = 1;
  double logit_spread = 1;
  double density = 0.1;
  double scale = 1;
  int64_t genes = 300;
};

const Case kCases[] = {
    {"Typical"},
    {"ThetaTiny", -30},
    {"ThetaHuge", 25},
    {"ThetaEverything", 0, 12},
    {"SharpSoftmax", 0, 1, 12},
    {"FewGenes", 0, 1, 1, 0.5, 1, 3},
    {"FullPanels", 0, 1, 1, 0.3, 1, 128},
    {"OneMoreThanPanels", 0, 1, 1, 0.3, 1, 129},
    {"EmptyCell", 0, 1, 1, 0},
    {"LargeCounts", 0, 1, 1, 0.4, 100000},
};

class Likelihood : public testing::TestWithParam<std::tuple<Case, CountLikelihood>> {
 protected:
  Likelihood() {
    const int64_t g = case_.genes;
    std::vector<float> draws(4 * g);
    FillNormal(3, RandomUse::kProbe, 0, 1, draws);
    std::vector<float> uniforms(g);
    FillUniform(3, RandomUse::kProbe, 0, 2, uniforms);
    for (int64_t i = 0; i < g; ++i) {
      theta_.push_back(
          static_cast<float>(std::exp(case_.log_theta_shift + case_.log_theta_spread * draws[i])));
      logits_.push_back(static_cast<float>(case_.logit_spread * draws[g + i]));
      dropout_.push_back(2 * draws[2 * g + i]);
      if (uniforms[i] >= case_.density) continue;
      genes_.push_back(static_cast<int32_t>(i));
      counts_.push_back(
          static_cast<float>(std::ceil(case_.scale * (1 + std::abs(3 * draws[3 * g + i])))));
      total_ += counts_.back();
    }
  }

  double Exact(const std::vector<double>& logits, const std::vector<double>& dropout) const {
    double most = logits[0];
    for (const double v : logits) most = std::max(most, v);
    double sum = 0;
    for (const double v : logits) sum += std::exp(v - most);
    std::vector<double> x(logits.size());
    for (size_t i = 0; i < genes_.size(); ++i) x[genes_[i]] = counts_[i];
    double loss = 0;
    for (size_t g = 0; g < logits.size(); ++g) {
      loss += GeneLoss(likelihood_, x[g], total_ * std::exp(logits[g] - most) / sum, theta_[g],
                       dropout[g]);
    }
    return loss;
  }

  Case case_ = std::get<0>(GetParam());
  CountLikelihood likelihood_ = std::get<1>(GetParam());
  std::vector<float> theta_;
  std::vector<float> logits_;
  std::vector<float> dropout_;
  std::vector<int32_t> genes_;
  std::vector<float> counts_;
  float total_ = 0;
};

TEST_P(Likelihood, LossAndGradientAgreeWithDoublePrecision) {
  const int64_t padded = PaddedWidth(case_.genes);
  AlignedBuffer<float> row(2 * padded);
  std::fill(row.data(), row.data() + padded, -1e30f);
  std::copy(logits_.begin(), logits_.end(), row.data());
  std::copy(dropout_.begin(), dropout_.end(), row.data() + padded);
  AlignedBuffer<float> scratch(ReconstructionScratch(case_.genes));
  const double loss =
      ReconstructionAndGradient(likelihood_, GeneDispersion(theta_), {genes_, counts_, total_},
                                case_.genes, row.data(), scratch.data());
  const std::vector<double> logits(logits_.begin(), logits_.end());
  const std::vector<double> dropout(dropout_.begin(), dropout_.end());
  const double want = Exact(logits, dropout);
  EXPECT_NEAR(loss, want, 2e-6 * (std::abs(want) + total_ + case_.genes));
  constexpr double kStep = 1e-5;
  const double slack = 1e-5 * (1 + total_);
  for (int64_t g = 0; g < case_.genes; ++g) {
    const auto difference = [&](const std::vector<double>& at, bool scale_head) {
      std::vector<double> up = at;
      std::vector<double> down = at;
      up[g] += kStep;
      down[g] -= kStep;
      return scale_head ? (Exact(up, dropout) - Exact(down, dropout)) / (2 * kStep)
                        : (Exact(logits, up) - Exact(logits, down)) / (2 * kStep);
    };
    ASSERT_NEAR(row[g], difference(logits, true), slack) << g;
    if (likelihood_ != CountLikelihood::kZinb) continue;
    ASSERT_NEAR(row[padded + g], difference(dropout, false), slack) << g;
  }
  for (int64_t g = case_.genes; g < padded; ++g) {
    EXPECT_EQ(row[g], 0);
    if (likelihood_ == CountLikelihood::kZinb) {
      EXPECT_EQ(row[padded + g], 0);
    }
  }
}

std::string NameOf(const testing::TestParamInfo<Likelihood::ParamType>& test) {
  const char* const names[] = {"Nb", "Zinb", "Poisson"};
  return std::get<0>(test.param).name + names[static_cast<int>(std::get<1>(test.param))];
}

INSTANTIATE_TEST_SUITE_P(Cases, Likelihood,
                         testing::Combine(testing::ValuesIn(kCases),
                                          testing::Values(CountLikelihood::kNb,
                                                          CountLikelihood::kZinb,
                                                          CountLikelihood::kPoisson)),
                         NameOf);

TEST(LikelihoodTest, ANanReachesTheLoss) {
  for (const auto likelihood :
       {CountLikelihood::kNb, CountLikelihood::kZinb, CountLikelihood::kPoisson}) {
    AlignedBuffer<float> row(128);
    row[5] = std::nanf("");
    AlignedBuffer<float> scratch(ReconstructionScratch(10));
    const std::vector<float> theta(10, 1.0f);
    EXPECT_TRUE(std::isnan(ReconstructionAndGradient(likelihood, GeneDispersion(theta), {{}, {}, 3},
                                                     10, row.data(), scratch.data())));
  }
}

}  // namespace
}  // namespace portolan
