#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/archive/model_description.h"

namespace portolan {

/// The freeze flags of scvi-tools' load_query_data, with its defaults.
struct FreezeFlags {
  bool unfrozen = false;
  bool freeze_dropout = false;
  bool freeze_expression = true;
  bool freeze_decoder_first_layer = true;
  bool freeze_batchnorm_encoder = true;
  bool freeze_batchnorm_decoder = false;
  bool freeze_classifier = true;
  /// No flag of scvi-tools, but what it does: columns of new batches stand behind those of the
  /// extra covariates, which shifts the meaning of all these columns, and all of them are trained.
  bool scvi_columns = false;
};

/// Adam as scvi-tools sets it up. L2 decay is added to the gradient (torch's Adam, not AdamW).
struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 0.01;
  double weight_decay = 0.0;
};

/// Stop when the monitored ELBO (a loss: lower is better) has not improved by more than min_delta
/// for `patience` epochs.
struct EarlyStoppingOptions {
  int patience = 45;
  double min_delta = 0.0;
};

/// Multiply the learning rate by `factor` after more than `patience` epochs without improvement.
struct PlateauOptions {
  double factor = 0.6;
  int patience = 30;
  double threshold = 0.0;
  double min_learning_rate = 0.0;
};

/// Whether TOTALVI is trained against a classifier of the batch. kAuto, as scvi-tools: where a new
/// batch lacks proteins.
enum class AdversaryMode { kAuto, kOn, kOff };

/// L-BFGS over all cells at once instead of minibatches (core/surgery/newton.h); max_epochs then
/// counts passes.
struct NewtonOptions {
  double kl_weight = 0.1;
  /// A pass that gains less ends the run: nats per cell, and a share of all that was gained.
  double min_gain = 0.05;
  double min_share = 0.01;
  int history = 20;
  /// Added to the curvature that is guessed for a parameter: this share of the mean of all.
  double damping = 0.01;
};

/// Of the products of gradients with the decoder's gene heads (core/kernels/bf16_matrix.h). The
/// loss is always computed in float32.
enum class Precision { kFloat32, kBf16 };

/// Everything that decides the numbers of one training run, beside its data.
struct TrainOptions {
  uint64_t seed = 0;
  int max_epochs = 400;
  int minibatch = 128;
  /// Share of a run's cells that are trained on; the rest validates (scvi-tools: 0.9).
  double train_share = 0.9;
  /// Epochs over which the KL weight climbs from 0 to 1 (scvi-tools: 400); 0: constant 1.
  int kl_warmup_epochs = 400;
  /// The ramp in steps of optimisers instead, where no epochs are given (scvi-tools' TOTALVI: 0.75
  /// per cell). An adversary's steps count, too: with it the ramp is twice as fast.
  int64_t kl_warmup_steps = 0;
  /// Overrides the ramp by a constant.
  std::optional<double> kl_weight;
  /// Weight of SCANVI's classification loss where cells are labelled.
  double classification_ratio = 50;
  FreezeFlags freeze;
  AdamOptions adam;
  std::optional<EarlyStoppingOptions> early_stopping;
  std::optional<PlateauOptions> plateau;
  AdversaryMode adversary = AdversaryMode::kAuto;
  std::optional<double> adversary_scale;  ///< unset: 1 - KL weight
  std::optional<NewtonOptions> newton;
  Precision precision = Precision::kFloat32;
};

enum class Preset { kScvi, kHlca, kNewton };
std::string_view PresetName(Preset preset);

/// The preset's options for a run over `cells` cells. kScvi: scvi-tools' defaults of train() with
/// weight decay 0 and dropout frozen, max_epochs = min(round(20000 / cells * 400), 400); kHlca: at
/// most 500 epochs over all cells, early stopping on the training ELBO (patience 10, min delta
/// 0.001), plateau schedule (factor 0.1, patience 8). kNewton: at most 20 passes at KL weight 0.1;
/// TOTALVI, which has more to fit, 40 at 0.5.
/// Of TOTALVI's own train() come the learning rate 4e-3, minibatches of 256 and the KL ramp over
/// 0.75 steps a cell; with kScvi also early stopping (patience 45) and the plateau schedule (0.6,
/// 30), both on the validation ELBO.
TrainOptions PresetOptions(Preset preset, int64_t cells,
                           ModelClass model_class = ModelClass::kScvi);

/// scvi-tools' number of epochs for a data set of this size (Python's rounding, ties to even).
int DefaultEpochs(int64_t cells);

}  // namespace portolan
