#include "core/model/network_loader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/host_copy.h"

namespace portolan {
namespace {

/// Columns that categories have in a layer of the file; a covariate of one category has none.
struct ColumnCounts {
  bool injected = false;
  int64_t own = 0;  ///< of the stack's covariate
  std::vector<int64_t> extra;
  int64_t total = 0;
};

ColumnCounts CountColumns(const StackShape& shape, int64_t layer) {
  const auto stored = [](int64_t categories) { return categories > 1 ? categories : 0; };
  ColumnCounts counts;
  counts.injected = layer == 0 || shape.deep;
  if (!counts.injected) return counts;
  if (shape.covariate != Covariate::kNone) counts.own = stored(shape.categories);
  counts.total = counts.own;
  for (const int64_t categories : shape.extra_categories) {
    counts.extra.push_back(stored(categories));
    counts.total += counts.extra.back();
  }
  return counts;
}

// [input | own categories | categories of covariate 0 | ...] as the parts of a layer.
void SplitColumns(const at::Tensor& weight, int64_t in, const ColumnCounts& counts,
                  FcLayer& layer) {
  layer.weight = weight.slice(1, 0, in).contiguous();
  int64_t begin = in;
  const auto next = [&](int64_t columns) {
    if (columns == 0) return at::Tensor();
    begin += columns;
    return weight.slice(1, begin - columns, begin).t().contiguous();
  };
  layer.columns = next(counts.own);
  for (const int64_t columns : counts.extra) layer.covariate_columns.push_back(next(columns));
}

}  // namespace

absl::StatusOr<at::Tensor> NetworkLoader::Get(const std::string& key,
                                              const std::vector<int64_t>& shape) const {
  const auto it = saved_.tensors.find(key);
  if (it == saved_.tensors.end()) {
    return InvalidField("model.pt", absl::StrCat("tensor '", key, "' is missing"),
                        "Save the model again with scvi-tools' save()");
  }
  const HostTensor& host = it->second;
  bool fits = host.dtype() == DType::kFloat32 && host.shape().size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] < 0 || shape[i] == host.shape()[i];
  }
  if (!fits) {
    return InvalidField(
        "model.pt",
        absl::StrCat("tensor '", key, "' has shape ", ShapeString(host.shape()),
                     " where the model's description asks for ", ShapeString(shape)),
        "The file is damaged or was edited; save the model again with scvi-tools' save()");
  }
  return ToTensor(host);
}

absl::StatusOr<Linear> NetworkLoader::GetLinear(const std::string& key, int64_t out,
                                                int64_t in) const {
  Linear linear;
  PORTOLAN_ASSIGN_OR_RETURN(linear.weight, Get(key + ".weight", {out, in}));
  PORTOLAN_ASSIGN_OR_RETURN(linear.bias, Get(key + ".bias", {out}));
  return linear;
}

absl::StatusOr<BatchNorm> NetworkLoader::GetBatchNorm(const std::string& key, int64_t width) const {
  BatchNorm norm;
  PORTOLAN_ASSIGN_OR_RETURN(norm.weight, Get(key + ".weight", {width}));
  PORTOLAN_ASSIGN_OR_RETURN(norm.bias, Get(key + ".bias", {width}));
  PORTOLAN_ASSIGN_OR_RETURN(norm.running_mean, Get(key + ".running_mean", {width}));
  PORTOLAN_ASSIGN_OR_RETURN(norm.running_var, Get(key + ".running_var", {width}));
  return norm;
}

absl::StatusOr<FcStack> NetworkLoader::GetStack(const std::string& path,
                                                const StackShape& shape) const {
  FcStack stack;
  stack.path = path;
  stack.covariate = shape.covariate;
  stack.extra_inputs = shape.extra_inputs;
  stack.layer_norm = shape.layer_norm;
  stack.dropout = shape.dropout;
  for (int64_t i = 0; i < shape.layers; ++i) {
    const std::string key = absl::StrCat(path, ".fc_layers.Layer ", i, ".");
    const int64_t in = i == 0 ? shape.in + shape.extra_inputs : shape.hidden;
    const ColumnCounts counts = CountColumns(shape, i);
    FcLayer layer;
    PORTOLAN_ASSIGN_OR_RETURN(Linear linear,
                              GetLinear(absl::StrCat(key, "0"), shape.hidden, in + counts.total));
    layer.bias = linear.bias;
    SplitColumns(linear.weight, in, counts, layer);
    if (!layer.columns.defined() && counts.injected && shape.covariate == Covariate::kBatch) {
      // The one batch of such a reference contributes nothing; extensions append to this.
      layer.columns = at::zeros({1, shape.hidden});
    }
    if (shape.batch_norm) {
      PORTOLAN_ASSIGN_OR_RETURN(layer.batch_norm,
                                GetBatchNorm(absl::StrCat(key, "1"), shape.hidden));
    }
    stack.layers.push_back(std::move(layer));
  }
  return stack;
}

absl::StatusOr<GaussianNetwork> NetworkLoader::GetGaussian(const std::string& path,
                                                           const std::string& role,
                                                           const StackShape& shape,
                                                           int64_t out) const {
  GaussianNetwork network;
  network.path = path;
  network.mean_name = absl::StrCat("mean_", role);
  network.var_name = absl::StrCat("var_", role);
  network.var_epsilon = role == "encoder" ? 1e-4 : 0.0;
  PORTOLAN_ASSIGN_OR_RETURN(network.stack, GetStack(absl::StrCat(path, ".", role), shape));
  PORTOLAN_ASSIGN_OR_RETURN(
      network.mean, GetLinear(absl::StrCat(path, ".", network.mean_name), out, shape.hidden));
  PORTOLAN_ASSIGN_OR_RETURN(
      network.var, GetLinear(absl::StrCat(path, ".", network.var_name), out, shape.hidden));
  return network;
}

}  // namespace portolan
