#include "core/model/state_dict.h"

#include <ATen/ATen.h>

#include "core/base/status_macros.h"
#include "core/model/host_copy.h"
#include "core/model/networks.h"
#include "core/model/torch_runtime.h"

namespace portolan {

absl::StatusOr<std::map<std::string, HostTensor>> StateDict(const Model& model) {
  std::map<std::string, HostTensor> out;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    ModelNetworks networks = model.networks();
    std::map<std::string, at::Tensor> tensors;
    for (const TensorRef& ref : Tensors(networks)) {
      if (ref.fan_in == 0) {
        // The file has a column per batch, but for an embedding, which has a row.
        const bool per_batch =
            ref.role == TensorRole::kBatchColumns && ref.key != kBatchEmbeddingKey;
        tensors[ref.key] = per_batch || ref.transposed ? ref.tensor->t() : *ref.tensor;
      } else if (ref.role != TensorRole::kBatchColumns || ref.tensor->size(0) > 1) {
        // A single batch has no columns in scvi-tools.
        tensors[ref.key] = at::cat({tensors[ref.key], ref.tensor->t()}, 1);
      }
    }
    tensors.erase(kProteinMaskKey);
    if (networks.labels.has_value()) tensors["y_prior"] = networks.labels->y_prior.unsqueeze(0);
    for (const auto& [key, tensor] : tensors) out[key] = ToHost(tensor);
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace portolan
