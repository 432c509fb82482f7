#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/saved_model.h"
#include "core/model/layers.h"

namespace portolan {

/// What a stack of FC layers looks like in the file.
struct StackShape {
  int64_t in = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  Covariate covariate = Covariate::kNone;
  int64_t categories = 0;                      ///< columns injected; a single category has none
  std::vector<int64_t> extra_categories = {};  ///< of each extra categorical covariate
  int64_t extra_inputs = 0;                    ///< numbers that the first Linear sees behind `in`
  bool deep = true;                            ///< inject into layers beyond the first
  bool batch_norm = false;
  bool layer_norm = false;
  double dropout = 0;
};

/// Takes the tensors of networks out of a saved model, checking shapes. InvalidField("model.pt")
/// for a tensor that is missing or does not fit. The saved model outlives the loader.
class NetworkLoader {
 public:
  explicit NetworkLoader(const SavedModel& saved) : saved_(saved) {}

  bool Has(const std::string& key) const { return saved_.tensors.contains(key); }

  /// The tensor of this shape, float32; -1 in `shape` matches any extent.
  absl::StatusOr<at::Tensor> Get(const std::string& key, const std::vector<int64_t>& shape) const;
  /// KEY.weight (out, in) and KEY.bias (out).
  absl::StatusOr<Linear> GetLinear(const std::string& key, int64_t out, int64_t in) const;
  absl::StatusOr<BatchNorm> GetBatchNorm(const std::string& key, int64_t width) const;
  /// The stack of module path `path`: PATH.fc_layers.Layer i.
  absl::StatusOr<FcStack> GetStack(const std::string& path, const StackShape& shape) const;
  /// PATH.ROLE, PATH.mean_ROLE and PATH.var_ROLE; `role` is "encoder" or "decoder".
  absl::StatusOr<GaussianNetwork> GetGaussian(const std::string& path, const std::string& role,
                                              const StackShape& shape, int64_t out) const;

 private:
  const SavedModel& saved_;
};

}  // namespace portolan
