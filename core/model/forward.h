#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "core/model/networks.h"
#include "core/model/noise.h"
#include "core/model/pass.h"

namespace portolan {

/// Cells on their way through the networks.
struct Minibatch {
  std::span<const int64_t> rows;  ///< which cells, for the noise
  at::Tensor counts;              ///< (B, G)
  at::Tensor first;               ///< (B, H): W_x f(x) + bias of z_encoder's first Linear
  at::Tensor batch_codes;         ///< (B) int64, into the networks' batch columns
  at::Tensor count_terms;         ///< (B): CountTerms of the cells; undefined: computed in the pass
};

/// Per-cell terms, (B) each. loss = mean(reconstruction + kl_weight * kl + kl_unweighted).
struct LossTerms {
  at::Tensor reconstruction;
  at::Tensor kl;             ///< under the KL weight
  at::Tensor kl_unweighted;  ///< SCVI's KL of a latent library; zeros otherwise
};

/// f(x): log1p unless the model takes raw counts.
at::Tensor EncoderInput(const Architecture& architecture, const at::Tensor& counts);

/// Mean and variance of q(z|x) in eval mode. `first`: FirstLinear's output, (B, H).
GaussianOutput EncodeLatent(const ModelNetworks& networks, const at::Tensor& first,
                            const at::Tensor& batch_codes);

/// softmax of the classifier at latents `z`, eval mode: (B, L).
at::Tensor ClassProbabilities(const ModelNetworks& networks, const at::Tensor& z);

/// The model's loss terms. `training`: minibatch statistics in batch norm, dropout where a stack
/// has any. `use_noise`: kLatentNoise while training, kElboNoise for an evaluation.
LossTerms ComputeLoss(const ModelNetworks& networks, const Minibatch& minibatch, bool training,
                      RandomUse use_noise, NoiseSource& noise);

}  // namespace portolan
