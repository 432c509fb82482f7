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
      if (ref.role != TensorRole::kBatchColumns) {
        tensors[ref.key] = *ref.tensor;
      } else if (ref.fan_in == 0) {
        tensors[ref.key] = ref.tensor->t();  // one column per batch and nothing else
      } else if (ref.tensor->size(0) > 1) {  // a single batch has no columns in scvi-tools
        tensors[ref.key] = at::cat({tensors[ref.key], ref.tensor->t()}, 1);
      }
    }
    tensors.erase(kProteinMaskKey);
    if (networks.labels.has_value()) tensors["y_prior"] = networks.labels->y_prior.unsqueeze(0);
    for (const FcStack* stack : Stacks(networks)) {
      if (stack->covariate != Covariate::kLabel) continue;
      for (size_t i = 0; i < stack->layers.size(); ++i) {
        if (!stack->layers[i].columns.defined()) continue;
        at::Tensor& weight =
            tensors[stack->path + ".fc_layers.Layer " + std::to_string(i) + ".0.weight"];
        weight = at::cat({weight, stack->layers[i].columns.t()}, 1);
      }
    }
    for (const auto& [key, tensor] : tensors) out[key] = ToHost(tensor);
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace portolan
