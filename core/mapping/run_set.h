#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/mapping/mapping.h"
#include "core/mapping/plan.h"
#include "core/surgery/trainer.h"

namespace portolan {

/// One planned run, done.
struct FinishedRun {
  TrainResult result;
  double seconds = 0;  ///< 0 if it was finished before a resume
};

/// Trains the runs of a plan on the environment's executor: all at once, or one after the other on
/// the model that the one before left (chain). Keeps progress and checkpoints. Results stand in the
/// order of `plan.runs`. The first error stops all.
absl::StatusOr<std::vector<FinishedRun>> TrainRuns(const Model& model, const Query& query,
                                                   const MappingPlan& plan,
                                                   const std::string& fingerprint,
                                                   const MappingEnvironment& environment);

}  // namespace portolan
