#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/archive/saved_model.h"
#include "core/model/model.h"

namespace portolan {

/// The whole state dict of a version, as scvi-tools would save it: StateDict(version), and what no
/// forward pass reads (l_encoder with an observed library, px_r_decoder, counters of batch norm)
/// from `reference`, the saved model that the version's atlas starts at. What was never read has
/// columns of zeros for new batches, in scvi-tools' place: behind the batches before them, in front
/// of the covariates.
absl::StatusOr<std::map<std::string, HostTensor>> WholeStateDict(const Model& version,
                                                                 const SavedModel& reference);

}  // namespace portolan
