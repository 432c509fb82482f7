#include "core/kernels/count_terms.h"

#include <math.h>

namespace portolan {
namespace {

// lgamma() writes the global signgam; the reentrant form does not.
double LogGamma(double x) {
  int sign = 0;
  return lgamma_r(x, &sign);
}

}  // namespace

CountTermTable::CountTermTable(CountLikelihood likelihood, std::span<const float> theta)
    : poisson_(likelihood == CountLikelihood::kPoisson),
      theta_(theta.begin(), theta.end()),
      table_(theta.size() * kTabulated) {
  for (size_t g = 0; g < theta.size(); ++g) {
    double* row = table_.data() + g * kTabulated;
    // Gamma(x + 1 + r) = (x + r) Gamma(x + r).
    for (int64_t x = 0; x + 1 < kTabulated; ++x) {
      const auto count = static_cast<double>(x);
      row[x + 1] = row[x] - log(count + 1) + (poisson_ ? 0.0 : log(theta_[g] + count));
    }
  }
}

double CountTermTable::Of(std::span<const int32_t> genes, std::span<const float> counts) const {
  double sum = 0;
  for (size_t i = 0; i < genes.size(); ++i) {
    const float x = counts[i];
    const auto whole = static_cast<int64_t>(x);
    const bool tabulated = x < static_cast<float>(kTabulated) && static_cast<float>(whole) == x;
    sum += tabulated ? table_[genes[i] * kTabulated + whole] : Term(theta_[genes[i]], x);
  }
  return sum;
}

double CountTermTable::Term(double theta, double x) const {
  const double factorial = LogGamma(x + 1);
  return poisson_ ? -factorial : LogGamma(x + theta) - LogGamma(theta) - factorial;
}

}  // namespace portolan
