#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/matrix/cell_inputs.h"
#include "core/model/forward.h"

namespace portolan {

/// Turns rows of sparse counts into minibatches for a set of networks. What is frozen is computed
/// once per cell and kept: the first encoder layer, and the terms of the likelihood that depend on
/// counts and dispersion alone.
class Minibatches {
 public:
  struct Keep {
    bool first_layer = true;
    bool count_terms = true;
  };

  /// The batch codes of `cells` index the batch columns of `networks`; what both refer to outlives
  /// this object.
  Minibatches(const ModelNetworks& networks, const CellInputs& cells, const Keep& keep);

  Minibatch Make(std::span<const int64_t> rows) const;

 private:
  void KeepFirstLayer();
  void KeepCountTerms();

  const ModelNetworks& networks_;
  CellInputs cells_;
  at::Tensor first_;        // (cells, H); undefined if not kept
  at::Tensor count_terms_;  // (cells); undefined if not kept
};

}  // namespace portolan
