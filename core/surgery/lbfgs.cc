#include "core/surgery/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace portolan {
namespace {

constexpr double kSufficientDecrease = 1e-4;
constexpr double kSteep = 0.9;
constexpr double kLeastCurvature = 1e-10;

// The minimum of the cubic with these losses and slopes at both ends; NaN if it has none.
double CubicMinimum(const LinePoint& a, const LinePoint& b) {
  const double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return std::nan("");
  const double d2 = std::copysign(std::sqrt(square), b.length - a.length);
  return b.length - (b.length - a.length) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
}

void AddScaled(std::vector<double>& x, double factor, std::span<const double> y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += factor * y[i];
}

}  // namespace

double Dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<double> Lbfgs::Direction(std::span<const double> gradient) const {
  std::vector<double> direction(gradient.begin(), gradient.end());
  const size_t n = steps_.size();
  std::vector<double> alpha(n);
  for (size_t i = n; i-- > 0;) {
    alpha[i] = Dot(steps_[i], direction) / Dot(changes_[i], steps_[i]);
    AddScaled(direction, -alpha[i], changes_[i]);
  }
  double scale = 1;
  if (n > 0) {
    const std::vector<double>& change = changes_[n - 1];
    double square = 0;
    for (size_t i = 0; i < change.size(); ++i) square += change[i] * InverseOr1(i) * change[i];
    scale = Dot(steps_[n - 1], change) / square;
  } else if (const double size = std::sqrt(Dot(gradient, gradient)); inverse_.empty() && size > 0) {
    scale = 1 / size;
  }
  for (size_t i = 0; i < direction.size(); ++i) direction[i] *= scale * InverseOr1(i);
  for (size_t i = 0; i < n; ++i) {
    const double beta = Dot(changes_[i], direction) / Dot(changes_[i], steps_[i]);
    AddScaled(direction, alpha[i] - beta, steps_[i]);
  }
  for (double& value : direction) value = -value;
  return direction;
}

void Lbfgs::Update(std::vector<double> step, std::vector<double> gradient_change) {
  const double curvature = Dot(step, gradient_change);
  if (!(curvature > kLeastCurvature * Dot(gradient_change, gradient_change))) return;
  steps_.push_back(std::move(step));
  changes_.push_back(std::move(gradient_change));
  if (steps_.size() > history_) {
    steps_.pop_front();
    changes_.pop_front();
  }
}

LineDecision JudgeStep(const LinePoint& start, const LinePoint& trial) {
  const bool decreased =
      trial.loss <= start.loss + kSufficientDecrease * trial.length * start.slope;
  if (decreased && trial.slope >= kSteep * start.slope) return {true, 0};
  const double cubic = std::isfinite(trial.loss) ? CubicMinimum(start, trial) : std::nan("");
  if (decreased) {
    const double next = std::isfinite(cubic) ? cubic : 10 * trial.length;
    return {false, std::clamp(next, 2 * trial.length, 10 * trial.length)};
  }
  const double next = std::isfinite(cubic) ? cubic : 0.1 * trial.length;
  return {false, std::clamp(next, 0.1 * trial.length, 0.5 * trial.length)};
}

}  // namespace portolan
