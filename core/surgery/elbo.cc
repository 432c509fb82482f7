#include "core/surgery/elbo.h"

#include <c10/core/GradMode.h>

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/model/host_copy.h"
#include "core/model/networks.h"

namespace portolan {
namespace {

constexpr int64_t kElboRows = 128;

}  // namespace

absl::Status AppendNegativeElbo(const ModelNetworks& networks, const Minibatches& minibatches,
                                std::span<const int64_t> rows, NoiseSource& noise,
                                const CancelToken& cancel, std::vector<double>& out) {
  const c10::NoGradGuard no_grad;
  for (size_t begin = 0; begin < rows.size(); begin += kElboRows) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    const auto block = rows.subspan(begin, std::min<size_t>(kElboRows, rows.size() - begin));
    const LossTerms terms = ComputeLoss(networks, minibatches.Make(block), /*training=*/false,
                                        RandomUse::kElboNoise, noise);
    for (const float term : ToVector(terms.Reconstruction() + terms.Kl())) {
      out.push_back(term);
    }
  }
  return absl::OkStatus();
}

std::vector<float> ToVector(const at::Tensor& tensor) {
  const HostTensor host = ToHost(tensor);
  return {host.floats().begin(), host.floats().end()};
}

}  // namespace portolan
