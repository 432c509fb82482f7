#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/work_sharing.h"
#include "core/kernels/count_terms.h"
#include "core/kernels/network_pass.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/csr_matrix.h"
#include "core/model/noise.h"

namespace portolan {

/// Batch columns for the layers of the networks, indexed by the cells' batch codes.
struct NetworkColumns {
  ColumnTables encoder;
  ColumnTables decoder;
};

/// Terms of the loss of some cells, and its gradient.
struct CellLosses {
  std::vector<float> reconstruction;
  std::vector<float> proteins;  ///< their part of it; TOTALVI
  std::vector<float> kl;
  std::vector<float> loss;  ///< what the gradient is of
  /// Cells x gradient_width(): by the batch columns of every layer that has some, encoder first.
  std::vector<float> gradient;
};

/// The loss of cells by core/kernels. What is frozen is computed once per cell and kept: the first
/// encoder layer, and the terms of the likelihood that depend on counts and dispersion alone. Cells
/// are computed in fixed blocks, one thread each at a time. Used by one thread, which may let others
/// take part.
class KernelLoss {
 public:
  /// `theta`: one dispersion for all cells, or one for every batch code. References outlive this.
  KernelLoss(const PackedNetworks& networks, const CsrMatrix& counts,
             std::span<const int32_t> codes, const std::vector<std::vector<float>>& theta,
             NoiseSource& noise);

  /// From now on the threads of `sharing`, which outlives this, compute blocks, too.
  void ShareWork(WorkSharing& sharing);

  /// `use`: kLatentNoise or kElboNoise. The gradient is that of reconstruction + kl_weight * kl,
  /// cell by cell; it is left alone unless asked for.
  void Run(std::span<const int64_t> rows, const NetworkColumns& columns, RandomUse use,
           float kl_weight, bool gradients, CellLosses& out);

  int64_t gradient_width() const { return gradient_width_; }

 private:
  // What a thread needs for a block.
  struct Lane {
    explicit Lane(const PackedNetworks& networks) : pass(networks) {}
    NetworkPass pass;
    std::vector<float> latent_noise;
    std::vector<float> label_noise;
  };
  struct Request {
    const NetworkColumns& columns;
    RandomUse use;
    float kl_weight;
    bool gradients;
  };

  void RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at, Lane& lane,
                CellLosses& out);

  const PackedNetworks& networks_;
  const CsrMatrix& counts_;
  std::span<const int32_t> codes_;
  NoiseSource& noise_;
  std::vector<GeneDispersion> dispersions_;
  std::vector<float> first_;  // (cells, first width)
  std::vector<float> count_terms_;
  std::vector<float> totals_;
  int64_t gradient_width_ = 0;
  WorkSharing alone_{nullptr};
  WorkSharing* sharing_ = &alone_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by worker; taken when first needed
};

}  // namespace portolan
