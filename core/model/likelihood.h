#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "core/archive/model_description.h"

namespace portolan {

/// -log p(x) summed over genes, without the terms that depend on counts and dispersion alone
/// (CountTerms); formulas of scvi-tools with epsilon 1e-8.
/// normal: N(mu, theta), theta a standard deviation.
///   x, mu: (B, G); theta: (G) or (B, G); dropout_logit: (B, G), ZINB only. Returns (B).
at::Tensor ReconstructionWithoutCountTerms(GeneLikelihood likelihood, const at::Tensor& x,
                                           const at::Tensor& mu, const at::Tensor& theta,
                                           const at::Tensor& dropout_logit);

/// The left-out terms of log p(x) for one cell, from its stored counts (a zero contributes none):
///   nb, zinb: sum lgamma(x + theta) - lgamma(theta) - lgamma(x + 1);  poisson: -sum lgamma(x + 1);
///   normal: 0.
/// They are constant while the dispersion is frozen. Computed in double.
double CountTerms(GeneLikelihood likelihood, std::span<const int32_t> genes,
                  std::span<const float> counts, const float* theta);

/// The same as a differentiable function, where the dispersion is trained. Returns (B).
at::Tensor CountTerms(GeneLikelihood likelihood, const at::Tensor& x, const at::Tensor& theta);

}  // namespace portolan
