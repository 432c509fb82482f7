#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/tensor_bundle.h"
#include "core/base/work_sharing.h"
#include "core/model/extension.h"
#include "core/model/model.h"
#include "core/surgery/options.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// How TOTALVI trains against a classifier of the batch (adversary.h).
struct AdversaryOptions {
  std::optional<double> scale;  ///< of its loss; unset: 1 - KL weight
  uint64_t seed = 0;            ///< of its start values
};

/// What one minibatch cost, before the step that it led to.
struct StepResult {
  double loss = 0;                    ///< mean over the cells: what was minimised
  std::vector<float> reconstruction;  ///< per cell
  std::vector<float> proteins;        ///< per cell, the proteins' part of it; TOTALVI
  std::vector<float> kl;              ///< per cell, KL weight 1
};

/// Loss and gradient summed over cells.
struct LossSum {
  double loss = 0;
  std::vector<double> gradient;  ///< by Parameters(), as many entries
  /// If as many: the squares of the single cells' gradients. A session that does not know them
  /// leaves them alone.
  std::vector<double> squares;
};

/// One surgery in progress: the frozen weights of a model, shared, and the few tensors that this
/// run owns and trains. Used by one thread.
class TrainingSession {
 public:
  /// Extends `model` by the batches of `cells` with `columns` as start values (InitialColumns).
  /// `adversary`: TOTALVI only. `cells` and `noise` outlive the session. InvalidField("precision")
  /// if bf16 is not to be had.
  static absl::StatusOr<std::unique_ptr<TrainingSession>> Create(
      const Model& model, const TrainingCells& cells,
      const std::map<std::string, HostTensor>& columns, const FreezeFlags& freeze,
      const AdamOptions& adam, NoiseSource& noise,
      const std::optional<AdversaryOptions>& adversary = std::nullopt,
      Precision precision = Precision::kFloat32);
  virtual ~TrainingSession() = default;

  /// Lets the threads of `sharing`, which outlives the session, take part. The bits do not depend
  /// on it. A session that cannot divide its work ignores it.
  virtual void ShareWork(WorkSharing& /*sharing*/) {}

  /// One Adam step on a minibatch. kAborted naming the loss if it is not finite.
  virtual absl::StatusOr<StepResult> Step(std::span<const int64_t> rows, double kl_weight,
                                          double learning_rate) = 0;

  /// Step, with SCANVI's classification loss of the `labelled` rows (none: Step alone), mean over
  /// them, added `classification_ratio` times.
  virtual absl::StatusOr<StepResult> StepLabelled(std::span<const int64_t> rows,
                                                  std::span<const int64_t> labelled,
                                                  double classification_ratio, double kl_weight,
                                                  double learning_rate) = 0;

  /// -ELBO of each row (eval mode, KL weight 1, noise kElboNoise).
  virtual absl::StatusOr<std::vector<double>> NegativeElbo(std::span<const int64_t> rows) = 0;

  /// For optimisers that see all cells at once: everything trained, as one vector.
  virtual absl::StatusOr<std::vector<float>> Parameters() const = 0;
  /// REQUIRES: as many values as Parameters().
  virtual absl::Status SetParameters(std::span<const float> values) = 0;
  /// Adds the loss of the rows and its gradient to `sum`: eval mode, noise kLatentNoise.
  virtual absl::Status AddLossAndGradient(std::span<const int64_t> rows, double kl_weight,
                                          LossSum& sum) = 0;

  /// What the run has made of the model so far.
  virtual absl::StatusOr<Extension> Extract() const = 0;

  /// Everything that a later step depends on.
  virtual absl::StatusOr<TensorBundle> Save() const = 0;
  /// InvalidField("checkpoint") if it belongs to another run.
  virtual absl::Status Load(const TensorBundle& bundle) = 0;
};

/// Why a surgery on `model` would change more than new batch columns, one sentence each; empty if
/// an adapter is enough.
std::vector<std::string> FullDeltaReasons(const Model& model, const FreezeFlags& freeze,
                                          const AdamOptions& adam);

/// -ELBO of cells under a model that already knows their batches; rows as TrainingSession's.
absl::StatusOr<std::vector<double>> NegativeElbo(const Model& model, const CellInputs& cells,
                                                 NoiseSource& noise, const CancelToken& cancel);

}  // namespace portolan
