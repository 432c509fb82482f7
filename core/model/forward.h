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
  at::Tensor proteins;            ///< (B, P), 0 where not measured; TOTALVI
  at::Tensor first;               ///< (B, H): W_x f(x) + bias of z_encoder's first Linear
  at::Tensor batch_codes;         ///< (B) int64, into the networks' batch columns
  at::Tensor categorical;         ///< (B, n) int64: extra categorical covariates
  at::Tensor continuous;          ///< (B, C): extra continuous covariates
  at::Tensor size_factors;        ///< (B, 1): where the model was set up with them
  at::Tensor labels;              ///< (B) int64: dispersion per label, or of labelled cells
  at::Tensor count_terms;         ///< (B): CountTerms of the cells; undefined: computed in the pass
};

/// Per-cell terms, (B) each.
struct LossTerms {
  at::Tensor reconstruction;              ///< of the genes
  at::Tensor protein_reconstruction;      ///< TOTALVI; undefined otherwise
  at::Tensor kl;                          ///< under the KL weight
  at::Tensor kl_unweighted;               ///< KL of a latent library; zeros otherwise
  at::Tensor latent;                      ///< (B, D): the sample that was decoded
  bool proteins_under_kl_weight = false;  ///< TOTALVI since 1.3.1

  /// What training minimises the mean of.
  at::Tensor Loss(double kl_weight) const;
  /// All reconstruction, and all KL without a weight: their sum is -ELBO.
  at::Tensor Reconstruction() const;
  at::Tensor Kl() const { return kl + kl_unweighted; }
};

/// f(x): log1p unless the model takes raw counts; TOTALVI: TotalviEncoderInput.
at::Tensor EncoderInput(const Architecture& architecture, const Minibatch& minibatch);

/// What stacks that see the cells' covariates get of a minibatch.
StackInputs InputsOf(const ModelNetworks& networks, const Minibatch& minibatch);

/// Mean and variance of q(z|x) in eval mode, before a logistic-normal latent's softmax.
GaussianOutput EncodeLatent(const ModelNetworks& networks, const Minibatch& minibatch);

/// E[z]: the mean, or for a logistic-normal latent the mean of softmax over 5,000 points that fill
/// the posterior evenly. Nothing is drawn: equal posteriors have equal latents.
at::Tensor ExpectedLatent(const Architecture& architecture, const GaussianOutput& q);

/// softmax of the classifier at `z`, eval mode: (B, L). scvi-tools gives it the untransformed mean.
at::Tensor ClassProbabilities(const ModelNetworks& networks, const at::Tensor& z);

/// SCANVI's classification loss: the cross entropy of labelled cells' `labels` at the mean of
/// q(z|x), mean over the cells.
at::Tensor ClassificationLoss(const ModelNetworks& networks, const Minibatch& labelled,
                              bool training, NoiseSource& noise);

/// The model's loss terms. `training`: minibatch statistics in batch norm, dropout where a stack
/// has any. `use_noise`: kLatentNoise while training, kElboNoise for an evaluation.
LossTerms ComputeLoss(const ModelNetworks& networks, const Minibatch& minibatch, bool training,
                      RandomUse use_noise, NoiseSource& noise);

}  // namespace portolan
