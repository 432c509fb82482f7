#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/likelihood.h"

namespace portolan {

/// The terms of log p(x) that depend on counts and dispersion alone, which the likelihood kernels
/// leave out:
///   nb, zinb: sum lgamma(x + theta) - lgamma(theta) - lgamma(x + 1);  poisson: -sum lgamma(x + 1).
/// Small counts, which nearly all are, come from a table. Immutable.
class CountTermTable {
 public:
  CountTermTable(CountLikelihood likelihood, std::span<const float> theta);

  /// Of one cell, from its non-zero counts (a zero contributes none).
  double Of(std::span<const int32_t> genes, std::span<const float> counts) const;

 private:
  static constexpr int64_t kTabulated = 16;

  double Term(double theta, double x) const;

  bool poisson_;
  std::vector<double> theta_;
  std::vector<double> table_;  // (genes, kTabulated): of count x
};

}  // namespace portolan
