#pragma once

#include <ATen/ATen.h>

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "core/base/cancellation.h"
#include "core/surgery/minibatches.h"

namespace portolan {

/// Appends -ELBO of each row (eval mode, KL weight 1, noise kElboNoise) to `out`. Errors:
/// kCancelled.
absl::Status AppendNegativeElbo(const ModelNetworks& networks, const Minibatches& minibatches,
                                std::span<const int64_t> rows, NoiseSource& noise,
                                const CancelToken& cancel, std::vector<double>& out);

/// A tensor's values, row-major.
std::vector<float> ToVector(const at::Tensor& tensor);

}  // namespace portolan
