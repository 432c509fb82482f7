#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/model/layers.h"
#include "core/model/noise.h"

namespace portolan {

/// The parts of a forward pass that all models are made of.

/// One pass over a minibatch. `repeats` > 1: the rows stand in that many blocks, one per label.
struct Pass {
  bool training = false;
  NoiseSource* noise = nullptr;
  std::span<const int64_t> rows;
  int64_t repeats = 1;
  /// Tells a second pass over the same cells from the first, for dropout.
  std::string stream = {};
};

/// What a stack may see of the cells beside its input; what it does not use may be undefined.
struct StackInputs {
  // NOLINTNEXTLINE(google-explicit-constructor): most stacks see codes and nothing else.
  StackInputs(at::Tensor own_codes = {}) : codes(std::move(own_codes)) {}

  at::Tensor codes;        ///< (rows) int64: of the stack's covariate
  at::Tensor categorical;  ///< (rows, n) int64: of the extra categorical covariates
  at::Tensor extra;        ///< (rows, E): continuous covariates, then the batch's vector
};

struct GaussianOutput {
  at::Tensor mean;  ///< (B, D)
  at::Tensor var;   ///< (B, D), variances
};

/// Standard normals for (repeats x rows, width), drawn per cell so that a cell's numbers are its
/// own.
at::Tensor DrawNormal(const Pass& pass, RandomUse use, int64_t width);

/// The columns of a stack's first weight that meet its input: (out, in).
at::Tensor InputWeight(const FcStack& stack);

/// weight x + bias of a network's first Linear for a dense input, without what StackInputs add.
at::Tensor FirstLinear(const FcStack& stack, const at::Tensor& input);

/// The stack from its first Linear's output `h` (FirstLinear) on.
at::Tensor ForwardStack(const FcStack& stack, at::Tensor h, const StackInputs& inputs,
                        const Pass& pass);

/// The stack from `first` on, then mean and variance.
GaussianOutput ForwardGaussian(const GaussianNetwork& network, const at::Tensor& first,
                               const StackInputs& inputs, const Pass& pass);

/// Logits of a classifier at `z`.
at::Tensor ClassifierLogits(const Classifier& classifier, const at::Tensor& z, const Pass& pass);

/// mean + sqrt(var) epsilon.
at::Tensor Sample(const GaussianOutput& q, const at::Tensor& epsilon);

/// KL(N(mean, var) || N(0, 1)), summed over dimensions.
at::Tensor KlStandardNormal(const GaussianOutput& q);

/// sum_d log N(z; mean, var).
at::Tensor NormalLogProb(const at::Tensor& z, const at::Tensor& mean, const at::Tensor& var);

}  // namespace portolan
