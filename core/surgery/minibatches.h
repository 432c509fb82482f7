#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/matrix/csr_matrix.h"
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

  /// `codes` index the batch columns of `networks`; both outlive this object, as does `counts`.
  Minibatches(const ModelNetworks& networks, const CsrMatrix& counts,
              const std::vector<int32_t>& codes, const Keep& keep);

  Minibatch Make(std::span<const int64_t> rows) const;

 private:
  void KeepFirstLayer();
  void KeepCountTerms();

  const ModelNetworks& networks_;
  const CsrMatrix& counts_;
  const std::vector<int32_t>& codes_;
  at::Tensor first_;        // (cells, H); undefined if not kept
  at::Tensor count_terms_;  // (cells); undefined if not kept
};

}  // namespace portolan
