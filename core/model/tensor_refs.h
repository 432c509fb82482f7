#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/model/layers.h"

namespace portolan {

enum class TensorRole {
  kWeight,         ///< of a Linear, without category columns
  kBias,           ///< of a Linear
  kBatchColumns,   ///< one row per batch; grows with extensions
  kOtherColumns,   ///< of a Linear: one row per label or category of an extra covariate
  kNormAffine,     ///< batch norm weight or bias
  kNormStatistic,  ///< batch norm running mean or variance
  kOther,          ///< px_r per gene or label
};

/// A tensor of the networks by its state-dict key. A Linear that sees categories appears several
/// times under one key: its weight, then its columns in the order of the file.
struct TensorRef {
  std::string key;
  TensorRole role;
  at::Tensor* tensor;
  int64_t fan_in = 0;       ///< columns of a Linear: its inputs without batch columns
  std::string part = {};    ///< kOtherColumns: "label", "covariate0", ...
  bool transposed = false;  ///< a whole tensor of which the file holds the transpose
};

/// The name under which an extension holds the tensor when it changes: the key, marked for columns.
std::string StoredKey(const TensorRef& ref);

/// Append the tensors of a part, in a fixed order.
void AddStack(FcStack& stack, std::vector<TensorRef>& refs);
void AddLinear(const std::string& key, Linear& linear, std::vector<TensorRef>& refs);
void AddGaussian(GaussianNetwork& network, std::vector<TensorRef>& refs);

}  // namespace portolan
