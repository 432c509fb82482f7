#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/tensor_bundle.h"
#include "core/base/cancellation.h"
#include "core/base/executor.h"
#include "core/model/extension.h"
#include "core/model/model.h"
#include "core/surgery/options.h"
#include "core/surgery/training_cells.h"

namespace portolan {

struct TrainProgress {
  int epoch = 0;  ///< finished epochs
  int max_epochs = 0;
  double loss = 0;  ///< mean over the cells of the last epoch
};

/// What a run gets from its surroundings. All callbacks run in the training thread.
struct TrainHooks {
  CancelToken cancel;
  std::function<void(const TrainProgress&)> on_epoch;
  /// Asked after every minibatch; true makes the trainer hand out a checkpoint.
  std::function<bool()> checkpoint_due;
  /// Also called, once more, on a cancel.
  std::function<void(const TensorBundle&)> on_checkpoint;
  std::optional<TensorBundle> resume_from;
  /// Its idle threads take part in the run; null: the calling thread alone. Same bits either way.
  Executor* executor = nullptr;
};

struct TrainResult {
  Extension extension;
  int epochs = 0;
  int64_t steps = 0;
  std::vector<double> train_loss;       ///< per epoch, per cell
  std::vector<double> validation_elbo;  ///< per epoch (higher is better); empty without validation
  std::string stop_reason;              ///< "epochs", "early stopping" or "converged" (newton)
};

/// Surgery on `model` for all new batches of `cells` in one run: minibatches, KL warm-up, Adam,
/// validation, early stopping, plateau schedule. Obeys a cancel within one minibatch (kCancelled).
/// A run that is stopped and resumed from its checkpoint gives the same bits as one that is not.
absl::StatusOr<TrainResult> Train(const Model& model, const TrainingCells& cells,
                                  const TrainOptions& options, const TrainHooks& hooks);

}  // namespace portolan
