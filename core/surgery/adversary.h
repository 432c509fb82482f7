#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

#include "core/archive/tensor_bundle.h"
#include "core/model/pass.h"
#include "core/surgery/adam.h"

namespace portolan {

/// TOTALVI's adversary: a classifier of the batch from the latent (two layers of 32, batch norm,
/// dropout 0.1), trained beside the model, which is trained to fool it. It is scaffolding: no part
/// of a model, kept by checkpoints alone. Formulas of scvi-tools' AdversarialTrainingPlan.
class Adversary {
 public:
  /// Linears start at U(-1/sqrt(n), 1/sqrt(n)) drawn from `seed`.
  Adversary(int64_t n_latent, int64_t n_batches, uint64_t seed, double weight_decay);

  /// -mean over cells of sum over other batches c of log p_c(z) / (n_batches - 1).
  at::Tensor FoolLoss(const at::Tensor& z, const at::Tensor& codes, const Pass& pass) const;

  /// One Adam step (rate 1e-3, epsilon 0.01) on scale * cross entropy of the true batch.
  void Step(const at::Tensor& z, const at::Tensor& codes, double scale, const Pass& pass);

  void Save(TensorBundle& bundle) const { optimizer_.Save(bundle); }
  bool Load(const TensorBundle& bundle) { return optimizer_.Load(bundle); }

 private:
  // -mean over cells of sum over batches of target * log p.
  at::Tensor Loss(const Classifier& classifier, const at::Tensor& z, const at::Tensor& target,
                  const Pass& pass) const;

  int64_t n_batches_;
  Classifier fooled_;  // the same tensors twice, under the names of their dropout streams
  Classifier trained_;
  Adam optimizer_;
};

}  // namespace portolan
