#include "core/surgery/scvi_layout.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "core/model/host_copy.h"
#include "core/model/networks.h"

namespace portolan {
namespace {

/// The columns of one Linear, in the order of the file.
struct LinearColumns {
  TensorRef batches;
  std::vector<TensorRef> covariates;
};

std::map<std::string, LinearColumns> ColumnsByKey(ModelNetworks& networks) {
  std::map<std::string, LinearColumns> linears;
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.fan_in == 0) continue;
    if (ref.role == TensorRole::kBatchColumns) linears[ref.key].batches = ref;
    // Batch columns come first; a Linear without any keeps its layout.
    if (ref.role == TensorRole::kOtherColumns && linears.contains(ref.key)) {
      linears[ref.key].covariates.push_back(ref);
    }
  }
  return linears;
}

// Whether a new batch's column would stand elsewhere than behind the batches'.
bool Moves(const LinearColumns& linear) {
  return !linear.covariates.empty() || linear.batches.tensor->size(0) == 1;
}

}  // namespace

bool MovesColumns(const Model& model) {
  ModelNetworks networks = model.networks();
  for (const auto& [key, linear] : ColumnsByKey(networks)) {
    if (Moves(linear)) return true;
  }
  return false;
}

ScviLayout ScviColumns(const Model& model, const std::map<std::string, HostTensor>& drawn,
                       const std::map<std::string, HostTensor>& own) {
  ScviLayout layout;
  layout.columns = drawn;
  ModelNetworks networks = model.networks();
  for (const auto& [key, linear] : ColumnsByKey(networks)) {
    if (!Moves(linear)) continue;
    const int64_t known = linear.batches.tensor->size(0);
    std::vector<at::Tensor> parts;  // as load_query_data strings them together
    if (known > 1) parts.push_back(*linear.batches.tensor);
    for (const TensorRef& covariate : linear.covariates) parts.push_back(*covariate.tensor);
    if (known == 1) parts.push_back(ToTensor(own.at(key)));
    const at::Tensor fresh = ToTensor(drawn.at(key));
    parts.push_back(fresh);
    const at::Tensor all = at::cat(parts, 0);
    int64_t begin = 0;
    const auto next = [&](int64_t rows) {
      begin += rows;
      return ToHost(all.slice(0, begin - rows, begin));
    };
    HostTensor batches = next(known);
    if (known == 1) layout.moved.replaced[StoredKey(linear.batches)] = std::move(batches);
    layout.columns[key] = next(fresh.size(0));
    for (const TensorRef& covariate : linear.covariates) {
      layout.moved.replaced[StoredKey(covariate)] = next(covariate.tensor->size(0));
    }
  }
  return layout;
}

Extension OnOriginal(const ScviLayout& layout, Extension trained) {
  for (const auto& [key, tensor] : layout.moved.replaced) trained.replaced.emplace(key, tensor);
  return trained;
}

}  // namespace portolan
