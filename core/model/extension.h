#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/archive/tensor_bundle.h"

namespace portolan {

/// What surgery adds to a model: for every tensor that has one column per batch, the columns of the
/// new batches (an adapter, a few KB); and, where that is not enough, changed tensors whole (a full
/// delta, valid only on top of the very parent it was trained on).
struct Extension {
  std::vector<std::string> batches;  ///< new names, in code order after the parent's
  /// State-dict key -> (new batches, width): row b is the new column of batch b.
  std::map<std::string, HostTensor> columns;
  /// State-dict key -> the whole changed tensor (without batch columns); empty for an adapter.
  std::map<std::string, HostTensor> replaced;
  /// Why tensors were replaced, one sentence each; empty for an adapter.
  std::vector<std::string> reasons;

  bool is_adapter() const { return replaced.empty(); }
};

/// The name under which `replaced` holds the parent's batch columns of a tensor, in the one case in
/// which those change: weight decay, which shrinks every column.
std::string BatchColumnsKey(const std::string& key);

TensorBundle ToBundle(const Extension& extension);
absl::StatusOr<Extension> ExtensionFromBundle(const TensorBundle& bundle);

/// Adapters of disjoint batches as one, batches in the order given. REQUIRES: all are adapters with
/// the same keys.
Extension Compose(const std::vector<Extension>& adapters);

}  // namespace portolan
