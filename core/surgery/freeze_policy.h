#pragma once

#include <string_view>

#include "core/surgery/options.h"

namespace portolan {

/// What surgery may change: scvi-tools' freeze rules as pure functions of state-dict keys. The
/// rules are substring tests upstream, side effects included (a classifier's batch norm is trained
/// although freeze_classifier is set), and are reproduced as such.

/// One parameter's fate.
struct ParameterPolicy {
  /// The optimiser holds it: weight decay reaches all of it, trained or not.
  bool in_optimizer = false;
  /// Its own gradient is kept. Of a Linear that sees covariates this is the part without columns.
  bool trained = false;
  /// The gradient of its batch columns is kept.
  bool columns_trained = false;
};

/// `key`: of a parameter, not of a buffer.
ParameterPolicy PolicyOf(std::string_view key, const FreezeFlags& flags);

/// Whether the gradient of columns of labels or extra covariates is kept: with the rest of their
/// weight, and, as in scvi-tools, with the batch columns if `flags` ask for that.
bool OtherColumnsTrained(const ParameterPolicy& policy, const FreezeFlags& flags);

/// Momentum of a stack's batch norms ("decoder.px_decoder"): 0 where the running statistics stay.
/// In train mode a batch norm uses minibatch statistics either way.
double BatchNormMomentum(std::string_view stack_path, const FreezeFlags& flags);

/// Whether a stack's dropout stays active while training.
bool DropoutActive(std::string_view stack_path, const FreezeFlags& flags);

}  // namespace portolan
