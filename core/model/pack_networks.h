#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "core/archive/model_description.h"
#include "core/kernels/packed_networks.h"
#include "core/model/networks.h"

namespace portolan {

/// Whether core/kernels can encode with a model of this description and compute its loss: one that
/// reads counts, proteins and batch alone, counts distributed by NB, ZINB or Poisson. Everything
/// else goes by LibTorch.
bool KernelsKnow(const ModelDescription& description);

/// The networks as the kernels want them, batch norm as in eval mode; null unless KernelsKnow.
std::shared_ptr<const PackedNetworks> PackNetworks(const ModelDescription& description,
                                                   const ModelNetworks& networks);

/// The batch columns of a stack, and the tables into them; what a layer lacks is null.
struct BatchColumns {
  std::vector<at::Tensor> owned;
  ColumnTables tables;
};
BatchColumns BatchColumnsOf(const FcStack& stack);

}  // namespace portolan
