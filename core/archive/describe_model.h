#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/py_text.h"
#include "core/archive/py_value.h"
#include "core/archive/state_shapes.h"

namespace portolan {

/// Describes the model in a model.pt, given the value at its root and its tensors. Registry,
/// init_params_ and tensors must agree; a disagreement is an error that names both sides.
absl::StatusOr<ModelDescription> DescribeModel(const PyValue& root, const StateDict& tensors,
                                               std::optional<ModelClass> expected,
                                               TextBudget& budget);

/// The class that `registry` records; nullopt if it records none, kUnimplemented if it is one that
/// Portolan does not serve.
absl::StatusOr<std::optional<ModelClass>> RegisteredClass(const PyValue& root);

}  // namespace portolan
