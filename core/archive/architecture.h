#pragma once

#include "absl/status/statusor.h"
#include "core/archive/init_params.h"
#include "core/archive/model_description.h"
#include "core/archive/registry.h"
#include "core/archive/state_shapes.h"

namespace portolan {

/// Everything that changes the forward pass, from the three places that know a part of it: the
/// tensors for what has a shape, `params` for the rest (with the defaults of scvi-tools, which have
/// not changed since 0.8), `registry` for the number of categories. What two of them know must
/// agree. Arguments that change the forward pass in a way Portolan does not compute are
/// kUnimplemented and named.
absl::StatusOr<Architecture> ReadArchitecture(ModelClass model_class, const Registry& registry,
                                              const InitParams& params, const StateShapes& shapes);

}  // namespace portolan
