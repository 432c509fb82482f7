#include "core/model/tensor_refs.h"

#include "absl/strings/str_cat.h"

namespace portolan {

void AddStack(FcStack& stack, std::vector<TensorRef>& refs) {
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    FcLayer& layer = stack.layers[i];
    const std::string key = absl::StrCat(stack.path, ".fc_layers.Layer ", i, ".");
    refs.push_back({key + "0.weight", TensorRole::kWeight, &layer.weight});
    if (stack.covariate == Covariate::kBatch && layer.columns.defined()) {
      refs.push_back(
          {key + "0.weight", TensorRole::kBatchColumns, &layer.columns, layer.weight.size(1)});
    }
    refs.push_back({key + "0.bias", TensorRole::kBias, &layer.bias});
    if (layer.batch_norm.has_value()) {
      refs.push_back({key + "1.weight", TensorRole::kNormAffine, &layer.batch_norm->weight});
      refs.push_back({key + "1.bias", TensorRole::kNormAffine, &layer.batch_norm->bias});
      refs.push_back(
          {key + "1.running_mean", TensorRole::kNormStatistic, &layer.batch_norm->running_mean});
      refs.push_back(
          {key + "1.running_var", TensorRole::kNormStatistic, &layer.batch_norm->running_var});
    }
  }
}

void AddLinear(const std::string& key, Linear& linear, std::vector<TensorRef>& refs) {
  refs.push_back({key + ".weight", TensorRole::kWeight, &linear.weight});
  refs.push_back({key + ".bias", TensorRole::kBias, &linear.bias});
}

void AddGaussian(GaussianNetwork& network, std::vector<TensorRef>& refs) {
  AddStack(network.stack, refs);
  AddLinear(absl::StrCat(network.path, ".", network.mean_name), network.mean, refs);
  AddLinear(absl::StrCat(network.path, ".", network.var_name), network.var, refs);
}

}  // namespace portolan
