#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/model/model.h"

namespace portolan {

/// The tensors that the forward pass of `model` reads, by scvi-tools' state-dict keys and in its
/// shapes: category columns stand behind the other columns of a weight again, extensions included.
/// What the forward pass never reads (l_encoder with an observed library, a px_r_decoder without
/// use) is absent; y_prior is scaled to sum to one.
absl::StatusOr<std::map<std::string, HostTensor>> StateDict(const Model& model);

}  // namespace portolan
