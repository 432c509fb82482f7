#include "core/model/tensor_refs.h"

#include "absl/strings/str_cat.h"
#include "core/model/extension.h"

namespace portolan {
namespace {

void AddColumns(const std::string& key, Covariate covariate, FcLayer& layer,
                std::vector<TensorRef>& refs) {
  int64_t fan_in = layer.weight.size(1);
  for (const at::Tensor& columns : layer.covariate_columns) {
    if (columns.defined()) fan_in += columns.size(0);
  }
  if (layer.columns.defined()) {
    if (covariate == Covariate::kBatch) {
      refs.push_back({key, TensorRole::kBatchColumns, &layer.columns, fan_in});
    } else {
      refs.push_back({key, TensorRole::kOtherColumns, &layer.columns, fan_in, "label"});
    }
  }
  for (size_t i = 0; i < layer.covariate_columns.size(); ++i) {
    if (!layer.covariate_columns[i].defined()) continue;
    refs.push_back({key, TensorRole::kOtherColumns, &layer.covariate_columns[i], fan_in,
                    absl::StrCat("covariate", i)});
  }
}

}  // namespace

std::string StoredKey(const TensorRef& ref) {
  if (ref.role == TensorRole::kBatchColumns) return BatchColumnsKey(ref.key);
  return ref.part.empty() ? ref.key : absl::StrCat(ref.key, "#", ref.part);
}

void AddStack(FcStack& stack, std::vector<TensorRef>& refs) {
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    FcLayer& layer = stack.layers[i];
    const std::string key = absl::StrCat(stack.path, ".fc_layers.Layer ", i, ".");
    refs.push_back({key + "0.weight", TensorRole::kWeight, &layer.weight});
    AddColumns(key + "0.weight", stack.covariate, layer, refs);
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
