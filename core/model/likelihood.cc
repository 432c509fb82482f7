#include "core/model/likelihood.h"

#include <math.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace portolan {
namespace {

constexpr double kEpsilon = 1e-8;

// lgamma() writes the global signgam; the reentrant form does not.
double LogGamma(double x) {
  int sign = 0;
  return lgamma_r(x, &sign);
}

}  // namespace

at::Tensor ReconstructionWithoutCountTerms(GeneLikelihood likelihood, const at::Tensor& x,
                                           const at::Tensor& mu, const at::Tensor& theta,
                                           const at::Tensor& dropout_logit) {
  if (likelihood == GeneLikelihood::kPoisson) {
    // An empty cell has mu = 0; the bound keeps the gradient x / mu of its zeros at 0.
    return (mu - at::xlogy(x, mu.clamp_min(std::numeric_limits<float>::min()))).sum(-1);
  }
  if (likelihood == GeneLikelihood::kNormal) {
    const at::Tensor deviation = (x - mu) / theta;
    return (0.5 * deviation * deviation + at::log(theta) + 0.5 * std::log(2 * std::numbers::pi))
        .sum(-1);
  }
  const at::Tensor log_theta_mu = at::log(theta + mu + kEpsilon);
  const at::Tensor zero_term = theta * (at::log(theta + kEpsilon) - log_theta_mu);
  const at::Tensor count_term = x * (at::log(mu + kEpsilon) - log_theta_mu);
  if (likelihood == GeneLikelihood::kNb) return -(zero_term + count_term).sum(-1);
  // ZINB with t = -d + zero_term:  x = 0: softplus(t) - softplus(-d);
  //                                x > 0: t - softplus(-d) + count_term.
  const at::Tensor t = zero_term - dropout_logit;
  const at::Tensor log_p =
      at::where(x < kEpsilon, at::softplus(t), t + count_term) - at::softplus(-dropout_logit);
  return -log_p.sum(-1);
}

double CountTerms(GeneLikelihood likelihood, std::span<const int32_t> genes,
                  std::span<const float> counts, const float* theta) {
  double sum = 0;
  if (likelihood == GeneLikelihood::kNormal) return sum;
  for (size_t i = 0; i < genes.size(); ++i) {
    const double x = counts[i];
    sum -= LogGamma(x + 1);
    if (likelihood != GeneLikelihood::kPoisson) {
      const double r = theta[genes[i]];
      sum += LogGamma(x + r) - LogGamma(r);
    }
  }
  return sum;
}

at::Tensor CountTerms(GeneLikelihood likelihood, const at::Tensor& x, const at::Tensor& theta) {
  if (likelihood == GeneLikelihood::kNormal) return at::zeros({x.size(0)});
  const at::Tensor factorial = at::lgamma(x + 1);
  if (likelihood == GeneLikelihood::kPoisson) return -factorial.sum(-1);
  return (at::lgamma(x + theta) - at::lgamma(theta) - factorial).sum(-1);
}

}  // namespace portolan
