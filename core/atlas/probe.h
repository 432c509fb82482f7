#pragma once

#include "absl/status/statusor.h"
#include "core/model/model.h"

namespace portolan {

/// max |dz| between two models over a fixed set of synthetic cells, some of every batch that
/// `parent` knows: the proof that an extension left the reference where it was. Exactly 0 for an
/// adapter. Infinite if a latent is not finite.
absl::StatusOr<double> MaxProbeShift(const Model& parent, const Model& child);

}  // namespace portolan
