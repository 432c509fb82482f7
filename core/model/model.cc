#include "core/model/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/host_copy.h"
#include "core/model/networks.h"
#include "core/model/pack_networks.h"
#include "core/model/torch_runtime.h"

namespace portolan {
namespace {

absl::Status DoesNotFit(const std::string& what) {
  return InvalidField("extension", what, "It belongs to another reference or version");
}

absl::Status CheckBatches(const Model& model, const Extension& extension) {
  std::set<std::string> seen;
  for (const std::string& batch : extension.batches) {
    if (model.BatchCode(batch) >= 0 || !seen.insert(batch).second) {
      return DoesNotFit(absl::StrCat("batch '", batch, "' is already known"));
    }
  }
  if (!extension.batches.empty() && !model.has_batch_key()) {
    return DoesNotFit("the reference was set up without a batch key");
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> Replacement(const Extension& extension, const std::string& key,
                                       const at::Tensor& old) {
  const auto it = extension.replaced.find(key);
  if (it == extension.replaced.end()) return old;
  if (it->second.shape() != old.sizes().vec() || it->second.dtype() != DType::kFloat32) {
    return DoesNotFit(
        absl::StrCat("tensor '", key, "' has shape ", ShapeString(it->second.shape())));
  }
  return ToTensor(it->second);
}

absl::Status ExtendTensor(const TensorRef& ref, const Extension& extension) {
  const bool per_batch = ref.role == TensorRole::kBatchColumns;
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor tensor, Replacement(extension, StoredKey(ref), *ref.tensor));
  if (per_batch && !extension.batches.empty()) {
    const auto it = extension.columns.find(ref.key);
    const std::vector<int64_t> shape = {static_cast<int64_t>(extension.batches.size()),
                                        tensor.size(1)};
    if (it == extension.columns.end()) {
      return DoesNotFit(absl::StrCat("columns of '", ref.key, "' are missing"));
    }
    if (it->second.shape() != shape || it->second.dtype() != DType::kFloat32) {
      return DoesNotFit(absl::StrCat("columns of '", ref.key, "' have shape ",
                                     ShapeString(it->second.shape()), ", not ",
                                     ShapeString(shape)));
    }
    tensor = at::cat({tensor, ToTensor(it->second)}, 0);
  }
  *ref.tensor = std::move(tensor);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> Model::Create(const SavedModel& saved) {
  auto networks = std::make_shared<ModelNetworks>();
  std::shared_ptr<const PackedNetworks> packed;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(*networks, BuildNetworks(saved));
    packed = PackNetworks(saved.description, *networks);
    return absl::OkStatus();
  }));
  return std::shared_ptr<const Model>(
      new Model(saved.description, std::move(networks), std::move(packed)));
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Extend(const Extension& extension) const {
  PORTOLAN_RETURN_IF_ERROR(CheckBatches(*this, extension));
  auto networks = std::make_shared<ModelNetworks>(*networks_);
  std::shared_ptr<const PackedNetworks> packed = packed_;  // it holds no batch columns
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    for (const TensorRef& ref : Tensors(*networks)) {
      PORTOLAN_RETURN_IF_ERROR(ExtendTensor(ref, extension));
    }
    if (extension.is_adapter()) return absl::OkStatus();
    RefreshDerived(*networks);
    packed = PackNetworks(description_, *networks);
    return absl::OkStatus();
  }));
  ModelDescription description = description_;
  auto& names = description.batches.categories;
  names.insert(names.end(), extension.batches.begin(), extension.batches.end());
  description.architecture.n_batch = static_cast<int64_t>(names.size());
  networks->architecture.n_batch = description.architecture.n_batch;
  return std::shared_ptr<const Model>(
      new Model(std::move(description), std::move(networks), std::move(packed)));
}

absl::StatusOr<Extension> Model::BatchColumns(int64_t first, int64_t count) const {
  const auto& names = description_.batches.categories;
  if (first < 0 || count < 0 || first + count > static_cast<int64_t>(names.size())) {
    return absl::OutOfRangeError(absl::StrCat("batches ", first, " to ", first + count));
  }
  Extension adapter;
  adapter.batches.assign(names.begin() + first, names.begin() + first + count);
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    ModelNetworks networks = *networks_;
    for (const TensorRef& ref : Tensors(networks)) {
      if (ref.role != TensorRole::kBatchColumns) continue;
      adapter.columns[ref.key] = ToHost(ref.tensor->slice(0, first, first + count));
    }
    return absl::OkStatus();
  }));
  return adapter;
}

int32_t Model::BatchCode(const std::string& name) const {
  const auto& names = description_.batches.categories;
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : static_cast<int32_t>(it - names.begin());
}

}  // namespace portolan
