#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/saved_model.h"

namespace portolan {

/// The networks of a model as plain structs of tensors, in scvi-tools' terms and keys. Copying a
/// struct copies handles, not weights: an extension or a training session is a copy in which a few
/// handles point elsewhere. Nothing here writes into a tensor.
///
/// What a category contributes to a Linear is kept apart from the rest of its weight:
///   linear([x ; onehot(c)]) = weight x + bias + columns[c]

/// Affine batch norm with running statistics, eps 1e-3.
struct BatchNorm {
  at::Tensor weight;        ///< (out)
  at::Tensor bias;          ///< (out)
  at::Tensor running_mean;  ///< (out)
  at::Tensor running_var;   ///< (out)
  /// Share of a training minibatch that moves the running statistics; 0 leaves them alone. Above 0
  /// only in a training session, which owns its statistics.
  double momentum = 0;
};

/// Linear -> [batch norm] -> [layer norm] -> ReLU -> [dropout].
struct FcLayer {
  at::Tensor weight;   ///< (out, in), without covariate columns
  at::Tensor bias;     ///< (out)
  at::Tensor columns;  ///< (categories, out); undefined where none are injected
  std::optional<BatchNorm> batch_norm;
};

/// Which categories the columns of a stack stand for.
enum class Covariate { kNone, kBatch, kLabel };

struct FcStack {
  std::string path;  ///< module path, "z_encoder.encoder"; keys are path.fc_layers.Layer i.0.weight
  std::vector<FcLayer> layers;
  Covariate covariate = Covariate::kNone;
  bool layer_norm = false;
  double dropout = 0;  ///< probability while training; decoders have none
};

struct Linear {
  at::Tensor weight;  ///< (out, in)
  at::Tensor bias;    ///< (out)
};

/// FC stack, then mean and variance heads.
struct GaussianNetwork {
  std::string path;  ///< "z_encoder"
  FcStack stack;
  std::string mean_name;  ///< "mean_encoder" or "mean_decoder"
  std::string var_name;
  Linear mean;
  Linear var;
  double var_epsilon = 1e-4;  ///< added to exp(.); 0 in decoder_z1_z2
};

struct Classifier {
  FcStack stack;           ///< no layers if linear
  std::string output_key;  ///< "classifier.classifier.1", or ".0" if linear
  Linear output;
};

/// SCANVI's part.
struct LabelNetworks {
  Classifier classifier;
  GaussianNetwork encoder_z2_z1;
  GaussianNetwork decoder_z1_z2;
  at::Tensor y_prior;  ///< (L), sums to one
};

struct ModelNetworks {
  Architecture architecture;        ///< n_batch counts the batches of extensions, too
  int64_t n_reference_batches = 1;  ///< of the saved model
  bool extensible = true;           ///< false for a model set up without a batch key

  at::Tensor px_r;               ///< (G); per batch (K, G)
  at::Tensor library_log_means;  ///< (K, 1), latent library only
  at::Tensor library_log_vars;   ///< (K, 1)
  GaussianNetwork z_encoder;
  std::optional<GaussianNetwork> l_encoder;  ///< latent library only
  FcStack px_decoder;
  Linear px_scale;
  Linear px_dropout;
  std::optional<LabelNetworks> labels;

  /// z_encoder's first weight, transposed for the sparse product: (G, H) contiguous.
  at::Tensor first_weight_t;
};

/// The networks of a saved SCVI or SCANVI model.
absl::StatusOr<ModelNetworks> BuildNetworks(const SavedModel& saved);

enum class TensorRole {
  kWeight,         ///< of a Linear, without category columns
  kBias,           ///< of a Linear
  kBatchColumns,   ///< one row per batch; grows with extensions
  kNormAffine,     ///< batch norm weight or bias
  kNormStatistic,  ///< batch norm running mean or variance
  kOther,          ///< px_r per gene
};

/// A tensor of the networks by its state-dict key. A Linear that sees the batch appears twice under
/// one key: its weight, and its batch columns.
struct TensorRef {
  std::string key;
  TensorRole role;
  at::Tensor* tensor;
  int64_t fan_in = 0;  ///< kBatchColumns of a Linear: input width without batch columns
};

/// Every tensor that the forward pass reads and surgery may change (all but y_prior), in a fixed
/// order.
std::vector<TensorRef> Tensors(ModelNetworks& networks);

/// The FC stacks of the networks, in a fixed order.
std::vector<FcStack*> Stacks(ModelNetworks& networks);

/// Recomputes what is derived from other tensors (first_weight_t).
void RefreshDerived(ModelNetworks& networks);

at::Tensor ToTensor(const HostTensor& host);  ///< copies
HostTensor ToHost(const at::Tensor& tensor);  ///< copies; float32

}  // namespace portolan
