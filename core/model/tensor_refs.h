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
  kNormAffine,     ///< batch norm weight or bias
  kNormStatistic,  ///< batch norm running mean or variance
  kOther,          ///< px_r per gene
};

/// A tensor of the networks by its state-dict key. A Linear that sees the batch appears twice under
/// one key: its weight, and its batch columns.
struct TensorRef {
  std::string key;
  TensorRole role;
  at::Tensor* tensor;
  int64_t fan_in = 0;  ///< kBatchColumns of a Linear: input width without batch columns
};

/// Append the tensors of a part, in a fixed order.
void AddStack(FcStack& stack, std::vector<TensorRef>& refs);
void AddLinear(const std::string& key, Linear& linear, std::vector<TensorRef>& refs);
void AddGaussian(GaussianNetwork& network, std::vector<TensorRef>& refs);

}  // namespace portolan
