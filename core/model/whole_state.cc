#include "core/model/whole_state.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/status_macros.h"
#include "core/model/state_dict.h"

namespace portolan {
namespace {

/// One-hot columns: scvi-tools gives none to a single category.
int64_t OneHots(int64_t categories) { return categories > 1 ? categories : 0; }

/// Whether the Linear `key` of a stack sees the batch. Stacks that see labels are always read.
bool SeesBatch(const std::string& key, const Architecture& a) {
  if (a.batch_embedding || !absl::StrContains(key, ".fc_layers.Layer ")) return false;
  if (!absl::EndsWith(key, ".0.weight")) return false;
  if (absl::StartsWith(key, "decoder.")) return true;
  return a.encode_covariates &&
         (absl::StartsWith(key, "l_encoder.") || absl::StartsWith(key, "encoder."));
}

/// `tensor` (rows, columns) with `count` columns of zeros in front of its last `behind` columns.
HostTensor InsertColumns(const HostTensor& tensor, int64_t count, int64_t behind) {
  const int64_t rows = tensor.shape()[0];
  const int64_t columns = tensor.shape()[1];
  const auto values = tensor.floats();
  std::vector<float> grown(static_cast<size_t>(rows * (columns + count)), 0.0F);
  for (int64_t row = 0; row < rows; ++row) {
    const auto from = values.begin() + row * columns;
    const auto to = grown.begin() + row * (columns + count);
    std::copy(from, from + columns - behind, to);
    std::copy(from + columns - behind, from + columns, to + columns - behind + count);
  }
  return HostTensor::FromFloats({rows, columns + count}, grown);
}

}  // namespace

absl::StatusOr<std::map<std::string, HostTensor>> WholeStateDict(const Model& version,
                                                                 const SavedModel& reference) {
  PORTOLAN_ASSIGN_OR_RETURN(auto state, StateDict(version));
  const Architecture& before = reference.description.architecture;
  const int64_t batches = version.description().architecture.n_batch;
  const int64_t grown = OneHots(batches) - OneHots(before.n_batch);
  int64_t covariates = 0;
  for (const int64_t categories : before.n_cats_per_cov) covariates += OneHots(categories);
  for (const auto& [key, tensor] : reference.tensors) {
    // Kept as it was saved: the forward pass has it scaled to sum to one.
    if (key == "y_prior") state[key] = tensor;
    if (state.contains(key)) continue;
    if (tensor.shape().size() == 2 && SeesBatch(key, before) && grown > 0) {
      state[key] = InsertColumns(tensor, grown, std::min(covariates, tensor.shape()[1]));
    } else if (key == "log_per_batch_efficiency") {  // of a pass that has none: all zeros
      state[key] = InsertColumns(tensor, batches - before.n_batch, 0);
    } else {
      state[key] = tensor;
    }
  }
  return state;
}

}  // namespace portolan
