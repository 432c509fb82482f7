#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/saved_model.h"
#include "core/model/layers.h"
#include "core/model/tensor_refs.h"
#include "core/model/totalvi_networks.h"

namespace portolan {

/// The networks of a model, by scvi-tools' keys. Copying them copies handles, not weights: an
/// extension or a training session is a copy in which a few handles point elsewhere. Nothing here
/// writes into a tensor.

/// SCANVI's part.
struct LabelNetworks {
  Classifier classifier;
  GaussianNetwork encoder_z2_z1;
  GaussianNetwork decoder_z1_z2;
  at::Tensor y_prior;  ///< (L), sums to one
};

/// The state-dict key of an embedded batch's vectors.
inline constexpr char kBatchEmbeddingKey[] = "_embeddings_dict.batch.weight";

struct ModelNetworks {
  Architecture architecture;        ///< n_batch counts the batches of extensions, too
  int64_t n_reference_batches = 1;  ///< of the saved model
  bool extensible = true;           ///< false for a model set up without a batch key

  at::Tensor px_r;               ///< (G); per batch (K, G); per label (L, G); undefined per cell
  at::Tensor batch_embedding;    ///< (K, E): a vector per batch; undefined for one-hot batches
  at::Tensor library_log_means;  ///< (K, 1), latent library only
  at::Tensor library_log_vars;   ///< (K, 1)
  GaussianNetwork z_encoder;     ///< TOTALVI: of genes and proteins
  std::optional<GaussianNetwork> l_encoder;  ///< latent library only
  FcStack px_decoder;
  Linear px_scale;                          ///< undefined in TOTALVI
  Linear px_dropout;                        ///< zinb only; undefined in TOTALVI
  Linear px_r_decoder;                      ///< dispersion per cell
  std::optional<LabelNetworks> labels;      ///< SCANVI
  std::optional<ProteinNetworks> proteins;  ///< TOTALVI

  /// z_encoder's first weight, transposed for the sparse product: (G, H) contiguous;
  /// TOTALVI: (G + P, H).
  at::Tensor first_weight_t;
};

/// The networks of a saved model.
absl::StatusOr<ModelNetworks> BuildNetworks(const SavedModel& saved);

/// Every tensor that the forward pass reads and surgery may change (all but y_prior), in a fixed
/// order.
std::vector<TensorRef> Tensors(ModelNetworks& networks);

/// The FC stacks of the networks, in a fixed order.
std::vector<FcStack*> Stacks(ModelNetworks& networks);

/// Recomputes what is derived from other tensors (first_weight_t).
void RefreshDerived(ModelNetworks& networks);

}  // namespace portolan
