#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// TOTALVI's protein terms of one cell, fused with their gradient: counts from a mixture of two
/// negative binomials, and the KL of the log background. With the heads' outputs a, u, f, m:
///   b = scale(u);  rate = exp(a + b noise);  fore = rate (ReLU(f) + 1 + 1e-8)
///   -log( pi NB(efficiency rate, theta) + (1 - pi) NB(efficiency fore, theta) ), pi = sigmoid(m)
///   KL( N(a, b) || N(prior mean, exp(prior log deviation)) )
/// Formulas of scvi-tools with epsilon 1e-8, without the terms that depend on counts and dispersion
/// alone (CountTermTable).

/// How the background's standard deviation comes out of its head: exp(u); softplus(u);
/// softplus(u) + 1e-8.
enum class BackgroundScale { kExp, kSoftplus, kSoftplusFloor };

/// What of a batch's proteins is frozen, as the kernels want it.
class FrozenProteins {
 public:
  FrozenProteins() = default;
  /// (proteins) each. theta: not negative; log_efficiency: empty before scvi-tools 1.3.1;
  /// measured: 1, or 0 where the batch's panel lacks the protein.
  FrozenProteins(std::span<const float> theta, std::span<const float> log_efficiency,
                 std::span<const float> measured);

  // PaddedWidth(proteins) floats each.
  const float* theta() const { return theta_.data(); }            ///< 1 in the padding
  const float* inverse() const { return inverse_.data(); }        ///< 1 / (theta + 1e-8)
  const float* efficiency() const { return efficiency_.data(); }  ///< 1 in the padding
  const float* measured() const { return measured_.data(); }      ///< 0 in the padding
  /// -log LogNormal(efficiency; 0, 1) summed over all proteins; 0 before scvi-tools 1.3.1.
  float efficiency_penalty() const { return efficiency_penalty_; }
  /// Weight of the penalty softplus(-m) on the mixing of all proteins; 0 before 1.3.1.
  float mixing_penalty() const { return mixing_penalty_; }

 private:
  AlignedBuffer<float> theta_;
  AlignedBuffer<float> inverse_;
  AlignedBuffer<float> efficiency_;
  AlignedBuffer<float> measured_;
  float efficiency_penalty_ = 0;
  float mixing_penalty_ = 0;
};

/// The heads' outputs of one cell; become the gradient of ProteinWeights' sum by them. What stands
/// behind `proteins` floats is left alone.
struct ProteinHeads {
  float* back_mean;   ///< a
  float* back_scale;  ///< u
  float* fore_scale;  ///< f
  float* mixing;      ///< m, logits of background
};

/// The background's prior in the cell's batch, and where the gradient by it goes.
struct ProteinPrior {
  const float* mean;
  const float* log_deviation;
  float* by_mean;
  float* by_log_deviation;
};

/// What the gradient is of: reconstruction * terms.reconstruction + kl * terms.kl.
struct ProteinWeights {
  float reconstruction = 1;
  float kl = 1;
};

struct ProteinTerms {
  float reconstruction = 0;  ///< over the measured proteins
  float kl = 0;              ///< the same; and both penalties
};

/// counts, noise: (proteins). A background's rate beyond 1e30 makes the reconstruction a NaN.
ProteinTerms ProteinTermsAndGradient(BackgroundScale scale, const FrozenProteins& frozen,
                                     int64_t proteins, const float* counts, const float* noise,
                                     const ProteinWeights& weights, const ProteinPrior& prior,
                                     const ProteinHeads& heads);

}  // namespace portolan
