#pragma once

#include "absl/status/statusor.h"
#include "core/surgery/trainer.h"

namespace portolan {

/// Surgery by L-BFGS over all cells at once (TrainOptions::newton): the noise of every cell is
/// drawn once, the KL weight is constant, columns start at the mean of the reference's. A pass is
/// one evaluation of loss and gradient over all cells, line search included; it stands where Adam
/// has an epoch. Stops after max_epochs passes, or when a pass gains too
/// little (NewtonOptions). Hooks, checkpoints and errors as Train's; a checkpoint is the state
/// after the last step, and what a cancel cuts off is computed again.
absl::StatusOr<TrainResult> TrainNewton(const Model& model, const TrainingCells& cells,
                                        const TrainOptions& options, const TrainHooks& hooks);

}  // namespace portolan
