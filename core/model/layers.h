#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace portolan {

/// The parts that networks are made of, as plain structs of tensors, in scvi-tools' terms. Copying
/// a struct copies handles, not weights.
///
/// What a category contributes to a Linear is kept apart from the rest of its weight:
///   linear([x ; onehot(c)]) = weight x + bias + columns[c]
/// and so for every categorical covariate; numbers that a first Linear sees beside its input
/// (continuous covariates, the vector of an embedded batch) stand behind the input's columns.

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
  at::Tensor weight;   ///< (out, in [+ extra_inputs]), without category columns
  at::Tensor bias;     ///< (out)
  at::Tensor columns;  ///< (categories, out); undefined where none are injected
  /// Per extra categorical covariate (categories, out); undefined for one of a single category.
  std::vector<at::Tensor> covariate_columns;
  std::optional<BatchNorm> batch_norm;
};

/// Which categories the columns of a stack stand for.
enum class Covariate { kNone, kBatch, kLabel };

struct FcStack {
  std::string path;  ///< module path, "z_encoder.encoder"; keys are path.fc_layers.Layer i.0.weight
  std::vector<FcLayer> layers;
  Covariate covariate = Covariate::kNone;
  int64_t extra_inputs = 0;  ///< of the first Linear: continuous covariates, then a batch's vector
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

}  // namespace portolan
