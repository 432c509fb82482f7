#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/state_shapes.h"

namespace portolan {

/// The content of a model.pt that scvi-tools opens with `MODEL.load(directory, adata)`, made from
/// the description alone: nothing of the file that the model came from passes through, so what old
/// files hold that newer programs cannot open (objects of pandas classes) is left behind.
///
/// `tensors` is the whole state dict, also what no forward pass reads, with one column per batch of
/// `description` wherever scvi-tools has one; CheckState holds. Training history is not written.
/// The same input gives the same bytes.
///
/// kUnimplemented for a model that was set up on a MuData.
absl::StatusOr<std::string> WriteModel(const ModelDescription& description,
                                       const StateDict& tensors);

/// The version that the file claims to be written by. It chooses the forward pass, so it is the
/// newest release with the model's own: a TOTALVI model from before 1.3.1 is opened by that release
/// and none after it.
std::string WrittenVersion(const ModelDescription& description);

}  // namespace portolan
