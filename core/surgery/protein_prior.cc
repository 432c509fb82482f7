#include "core/surgery/protein_prior.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>

#include "core/base/philox.h"

namespace portolan {
namespace {

constexpr int kDraws = 100;
constexpr int kLeastProteins = 5;
constexpr double kRegularisation = 1e-6;
constexpr double kTolerance = 1e-3;
constexpr int kRounds = 100;
constexpr Component kDegenerate = {0, 0.05 * 0.05};

struct Mixture {
  std::array<double, 2> weight = {};
  std::array<double, 2> mean = {};
  std::array<double, 2> variance = {};
};

// The number of values in the lower cluster where two clusters leave the least sum of squares.
size_t BestSplit(const std::vector<double>& sorted) {
  double total = 0;
  for (const double value : sorted) total += value;
  double below = 0;
  double best = -std::numeric_limits<double>::infinity();
  size_t split = 1;
  for (size_t i = 1; i < sorted.size(); ++i) {
    below += sorted[i - 1];
    const double above = total - below;
    const auto n = static_cast<double>(i);
    const double between =
        below * below / n + above * above / (static_cast<double>(sorted.size()) - n);
    if (between > best) {
      best = between;
      split = i;
    }
  }
  return split;
}

// `upper`: every value's share in the upper component.
Mixture Maximise(const std::vector<double>& values, const std::vector<double>& upper) {
  Mixture mixture;
  for (int k = 0; k < 2; ++k) {
    const auto share = [&](size_t i) { return k == 1 ? upper[i] : 1 - upper[i]; };
    double n = 10 * std::numeric_limits<double>::epsilon();
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      n += share(i);
      sum += share(i) * values[i];
    }
    mixture.mean[k] = sum / n;
    double squares = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double deviation = values[i] - mixture.mean[k];
      squares += share(i) * deviation * deviation;
    }
    mixture.variance[k] = squares / n + kRegularisation;
    mixture.weight[k] = n / static_cast<double>(values.size());
  }
  return mixture;
}

// Fills `upper`; returns the mean log likelihood.
double Expect(const std::vector<double>& values, const Mixture& mixture,
              std::vector<double>& upper) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    std::array<double, 2> log_p;
    for (int k = 0; k < 2; ++k) {
      const double deviation = values[i] - mixture.mean[k];
      log_p[k] = std::log(mixture.weight[k]) -
                 0.5 * (std::log(2 * std::numbers::pi * mixture.variance[k]) +
                        deviation * deviation / mixture.variance[k]);
    }
    const double most = std::max(log_p[0], log_p[1]);
    const double log_sum = most + std::log(std::exp(log_p[0] - most) + std::exp(log_p[1] - most));
    upper[i] = std::exp(log_p[1] - log_sum);
    sum += log_sum;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace

std::vector<uint8_t> MeasuredProteins(const TrainingCells& cells, int32_t batch, int64_t proteins) {
  std::vector<uint8_t> measured(proteins, 0);
  if (cells.proteins.n_proteins != proteins) return measured;
  for (int64_t row = 0; row < cells.cells(); ++row) {
    if (cells.batch_codes[row] != batch) continue;
    for (int64_t i = 0; i < proteins; ++i) {
      if (cells.proteins.values[row * proteins + i] != 0) measured[i] = 1;
    }
  }
  if (cells.proteins.measured.empty()) return measured;
  for (int64_t i = 0; i < proteins; ++i) {
    if (cells.proteins.measured[batch * proteins + i] == 0) measured[i] = 0;
  }
  return measured;
}

Component LowerComponent(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  if (values.empty() || values.front() == values.back()) return kDegenerate;
  std::vector<double> upper(values.size(), 0);
  std::fill(upper.begin() + static_cast<int64_t>(BestSplit(values)), upper.end(), 1.0);
  Mixture mixture = Maximise(values, upper);
  double bound = -std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    const double before = bound;
    bound = Expect(values, mixture, upper);
    mixture = Maximise(values, upper);
    if (std::abs(bound - before) < kTolerance) break;
  }
  const int lower = mixture.mean[0] <= mixture.mean[1] ? 0 : 1;
  return {mixture.mean[lower], mixture.variance[lower]};
}

std::optional<BackgroundPrior> EmpiricalBackground(const TrainingCells& cells, int32_t batch,
                                                   const std::vector<uint8_t>& measured,
                                                   uint64_t seed) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < cells.cells(); ++row) {
    if (cells.batch_codes[row] == batch) rows.push_back(row);
  }
  if (rows.empty() || std::count(measured.begin(), measured.end(), 1) < kLeastProteins) {
    return std::nullopt;
  }
  const auto proteins = static_cast<int64_t>(measured.size());
  const uint64_t key = RandomKey(seed, cells.batches[batch]);
  double means = 0;
  double variances = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const uint64_t bits = RandomBits(key, RandomUse::kProteinPrior, 0, draw);
    const float* counts = cells.proteins.values.data() + rows[bits % rows.size()] * proteins;
    std::vector<double> values;
    for (int64_t i = 0; i < proteins; ++i) {
      if (measured[i] != 0) values.push_back(std::log1p(counts[i]));
    }
    const Component component = LowerComponent(std::move(values));
    means += component.mean;
    variances += component.variance;
  }
  return BackgroundPrior{static_cast<float>(means / kDraws),
                         static_cast<float>(std::log(std::sqrt(variances) / kDraws))};
}

}  // namespace portolan
