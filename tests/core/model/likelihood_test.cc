#include "core/model/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr double kEpsilon = 1e-8;  // scvi-tools'

double Softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// log p(x) by the textbook formula with scvi-tools' epsilons.
double LogNb(double x, double mu, double theta) {
  return theta * std::log((theta + kEpsilon) / (theta + mu + kEpsilon)) +
         x * std::log((mu + kEpsilon) / (theta + mu + kEpsilon)) + std::lgamma(x + theta) -
         std::lgamma(theta) - std::lgamma(x + 1);
}

// A mixture of a point mass at zero, weight sigmoid(d), and a negative binomial.
double LogZinb(double x, double mu, double theta, double d) {
  const double log_zero = -Softplus(-d);  // log sigmoid(d)
  const double log_other = -Softplus(d);  // log (1 - sigmoid(d))
  if (x > 0) return log_other + LogNb(x, mu, theta);
  const double nb = log_other + theta * std::log((theta + kEpsilon) / (theta + mu + kEpsilon));
  const double larger = std::max(log_zero, nb);
  return larger + std::log(std::exp(log_zero - larger) + std::exp(nb - larger));
}

double LogPoisson(double x, double mu) {
  return (x > 0 ? x * std::log(mu) : 0.0) - mu - std::lgamma(x + 1);
}

double LogP(GeneLikelihood likelihood, double x, double mu, double theta, double d) {
  switch (likelihood) {
    case GeneLikelihood::kNb:
      return LogNb(x, mu, theta);
    case GeneLikelihood::kZinb:
      return LogZinb(x, mu, theta, d);
    default:
      return LogPoisson(x, mu);
  }
}

struct Draw {
  std::vector<double> x, mu, theta, d;
};

constexpr int kRows = 40;
constexpr int kGenes = 30;

double LogUniform(std::mt19937_64& random, double low, double high) {
  return std::exp(std::uniform_real_distribution<>(std::log(low), std::log(high))(random));
}

// Counts from zero to tens of thousands, means from 1e-12, dispersions from 1e-3 to `most_theta`.
Draw MakeDraw(uint64_t seed, double least_mu, double least_theta, double most_theta) {
  std::mt19937_64 random(seed);
  Draw draw;
  for (int g = 0; g < kGenes; ++g)
    draw.theta.push_back(LogUniform(random, least_theta, most_theta));
  draw.theta[0] = least_theta;
  draw.theta[1] = most_theta;
  for (int i = 0; i < kRows * kGenes; ++i) {
    const int kind = std::uniform_int_distribution<>(0, 9)(random);
    draw.x.push_back(kind < 6 ? 0 : std::floor(LogUniform(random, 1, kind == 9 ? 5e4 : 20)));
    draw.mu.push_back(LogUniform(random, least_mu, 1e3));
    draw.d.push_back(std::normal_distribution<>(0, 4)(random));
  }
  return draw;
}

// The float32 values of a draw, as double.
Draw Rounded(Draw draw) {
  for (auto* values : {&draw.x, &draw.mu, &draw.theta, &draw.d}) {
    for (double& value : *values) value = static_cast<float>(value);
  }
  return draw;
}

at::Tensor Matrix(const std::vector<double>& values, at::ScalarType type = at::kDouble) {
  at::Tensor tensor = at::empty({kRows, kGenes}, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.data_ptr<double>());
  return tensor.to(type);
}

at::Tensor Vector(const std::vector<double>& values, at::ScalarType type = at::kDouble) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.data_ptr<double>());
  return tensor.to(type);
}

// Sum over genes of -log p, and of the magnitudes of what was summed.
std::pair<double, double> Expected(GeneLikelihood likelihood, const Draw& draw, int row) {
  double sum = 0;
  double size = 0;
  for (int g = 0; g < kGenes; ++g) {
    const int i = row * kGenes + g;
    const double x = draw.x[i], mu = draw.mu[i], theta = draw.theta[g];
    sum -= LogP(likelihood, x, mu, theta, draw.d[i]);
    size += theta * (std::abs(std::log(theta)) + std::abs(std::log(theta + mu)) + 1) +
            x * (std::abs(std::log(mu + kEpsilon)) + std::abs(std::log(theta + mu)) + 1) +
            std::abs(std::lgamma(x + theta)) + std::abs(std::lgamma(theta)) + std::lgamma(x + 1) +
            std::abs(draw.d[i]) + mu + 1;
  }
  return {sum, size};
}

class LikelihoodTest : public testing::TestWithParam<GeneLikelihood> {
 protected:
  bool zinb() const { return GetParam() == GeneLikelihood::kZinb; }
};

TEST_P(LikelihoodTest, AgreesWithTheTextbookInDouble) {
  const Draw draw = MakeDraw(11, 1e-12, 1e-3, 1e5);
  const at::Tensor x = Matrix(draw.x);
  const at::Tensor theta = Vector(draw.theta);
  const at::Tensor got = ReconstructionWithoutCountTerms(GetParam(), x, Matrix(draw.mu), theta,
                                                         zinb() ? Matrix(draw.d) : at::Tensor()) -
                         CountTerms(GetParam(), x, theta);
  ASSERT_EQ(got.sizes().vec(), std::vector<int64_t>{kRows});
  for (int row = 0; row < kRows; ++row) {
    const auto [want, size] = Expected(GetParam(), draw, row);
    EXPECT_NEAR(got[row].item<double>(), want, 1e-14 * size) << "row " << row;
  }
}

TEST_P(LikelihoodTest, AgreesInFloat32WithinItsRounding) {
  const Draw draw = Rounded(MakeDraw(12, 1e-7, 1e-3, 1e5));
  const at::Tensor x = Matrix(draw.x, at::kFloat);
  const at::Tensor theta = Vector(draw.theta, at::kFloat);
  const at::Tensor got =
      ReconstructionWithoutCountTerms(GetParam(), x, Matrix(draw.mu, at::kFloat), theta,
                                      zinb() ? Matrix(draw.d, at::kFloat) : at::Tensor()) -
      CountTerms(GetParam(), x, theta);
  for (int row = 0; row < kRows; ++row) {
    const auto [want, size] = Expected(GetParam(), draw, row);
    EXPECT_NEAR(got[row].item<double>(), want, 2e-7 * size) << "row " << row;
  }
}

TEST_P(LikelihoodTest, DispersionMayDifferFromCellToCell) {
  const Draw draw = MakeDraw(13, 1e-3, 1e-2, 1e2);
  std::vector<double> repeated;
  for (int row = 0; row < kRows; ++row) {
    repeated.insert(repeated.end(), draw.theta.begin(), draw.theta.end());
  }
  const at::Tensor x = Matrix(draw.x);
  const at::Tensor d = zinb() ? Matrix(draw.d) : at::Tensor();
  EXPECT_TRUE(at::equal(
      ReconstructionWithoutCountTerms(GetParam(), x, Matrix(draw.mu), Vector(draw.theta), d),
      ReconstructionWithoutCountTerms(GetParam(), x, Matrix(draw.mu), Matrix(repeated), d)));
  EXPECT_TRUE(at::equal(CountTerms(GetParam(), x, Vector(draw.theta)),
                        CountTerms(GetParam(), x, Matrix(repeated))));
}

TEST_P(LikelihoodTest, GradientsAgreeWithCentralDifferences) {
  const Draw draw = MakeDraw(14, 1e-2, 1e-2, 1e3);
  const at::Tensor x = Matrix(draw.x);
  struct Input {
    const char* name;
    at::Tensor value;
  };
  std::vector<Input> inputs = {{"mu", Matrix(draw.mu)}};
  if (GetParam() != GeneLikelihood::kPoisson) inputs.push_back({"theta", Vector(draw.theta)});
  if (zinb()) inputs.push_back({"dropout logit", Matrix(draw.d)});
  const auto loss = [&] {
    const at::Tensor theta = inputs.size() > 1 ? inputs[1].value : at::Tensor();
    const at::Tensor d = zinb() ? inputs[2].value : at::Tensor();
    return (ReconstructionWithoutCountTerms(GetParam(), x, inputs[0].value, theta, d) -
            CountTerms(GetParam(), x, theta.defined() ? theta : x))
        .sum();
  };
  for (Input& input : inputs) input.value.set_requires_grad(true);
  loss().backward();
  const c10::NoGradGuard no_grad;
  for (Input& input : inputs) {
    double* values = input.value.data_ptr<double>();
    const at::Tensor gradient = input.value.grad();
    for (int64_t i = 0; i < input.value.numel(); i += 1 + input.value.numel() / 60) {
      const double kept = values[i];
      const double step = 1e-5 * std::max(std::abs(kept), 1e-3);
      values[i] = kept + step;
      const double above = loss().item<double>();
      values[i] = kept - step;
      const double below = loss().item<double>();
      values[i] = kept;
      const double numeric = (above - below) / (2 * step);
      const double analytic = gradient.view({-1})[i].item<double>();
      // The difference of two large sums leaves this much noise.
      const double noise = 4e-16 * std::abs(above) / step;
      EXPECT_NEAR(analytic, numeric, 1e-5 * std::abs(numeric) + 10 * noise + 1e-6)
          << input.name << " " << i;
    }
  }
}

TEST_P(LikelihoodTest, CountTermsOfStoredCountsAreThoseOfDenseOnes) {
  const Draw draw = Rounded(MakeDraw(15, 1, 1e-3, 1e5));
  const at::Tensor dense = CountTerms(GetParam(), Matrix(draw.x), Vector(draw.theta));
  const CsrMatrix counts = ToCsr(kRows, kGenes, std::vector<float>(draw.x.begin(), draw.x.end()));
  const std::vector<float> theta(draw.theta.begin(), draw.theta.end());
  for (int row = 0; row < kRows; ++row) {
    const double got =
        CountTerms(GetParam(), counts.row_columns(row), counts.row_values(row), theta.data());
    const auto [unused, size] = Expected(GetParam(), draw, row);
    EXPECT_NEAR(got, dense[row].item<double>(), 1e-14 * size);
  }
}

TEST_P(LikelihoodTest, AnEmptyCellAndItsGradientsAreFinite) {
  const at::Tensor x = at::zeros({1, kGenes}, at::kFloat);
  // Its library size is zero, too.
  const at::Tensor mu = at::zeros({1, kGenes}, at::kFloat).set_requires_grad(true);
  const at::Tensor d = zinb() ? at::zeros({1, kGenes}, at::kFloat) : at::Tensor();
  const at::Tensor theta = at::ones({kGenes}, at::kFloat);
  const at::Tensor loss = ReconstructionWithoutCountTerms(GetParam(), x, mu, theta, d);
  EXPECT_NEAR(loss.item<double>(), 0, 1e-5);
  loss.sum().backward();
  EXPECT_TRUE(at::isfinite(mu.grad()).all().item<bool>());
  EXPECT_EQ(CountTerms(GetParam(), std::span<const int32_t>(), {}, nullptr), 0);
}

INSTANTIATE_TEST_SUITE_P(All, LikelihoodTest,
                         testing::Values(GeneLikelihood::kNb, GeneLikelihood::kZinb,
                                         GeneLikelihood::kPoisson),
                         [](const auto& test) {
                           return std::string(GeneLikelihoodName(test.param));
                         });

}  // namespace
}  // namespace portolan
