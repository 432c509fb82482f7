#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/py_text.h"
#include "core/archive/py_value.h"
#include "core/archive/state_shapes.h"

namespace portolan {

/// The parts of a saved model beside its tensors.
struct ModelParts {
  PyValue attributes;                     ///< attr_dict of model.pt, or the root of attr.pkl
  PyValue var_names;                      ///< of model.pt; None in the three-file format
  std::vector<std::string> listed_names;  ///< of var_names.csv
};

/// Describes the model. Registry, init_params_ and tensors must agree; a disagreement is an error
/// that names both sides.
absl::StatusOr<ModelDescription> DescribeModel(const ModelParts& parts, const StateDict& tensors,
                                               std::optional<ModelClass> expected,
                                               TextBudget& budget);

/// The class that registry_ records; nullopt if it records none, kUnimplemented if it is one that
/// Portolan does not serve.
absl::StatusOr<std::optional<ModelClass>> RegisteredClass(const PyValue& attributes);

}  // namespace portolan
