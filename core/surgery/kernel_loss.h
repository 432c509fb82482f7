#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/archive/host_tensor.h"
#include "core/base/work_sharing.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/cell_inputs.h"
#include "core/model/noise.h"
#include "core/surgery/options.h"

namespace portolan {

/// Whether gradients are wanted: perhaps summed over cells, or every cell's apart.
enum class Gradients { kNone, kSummed, kApart };

/// Terms of the loss of some cells, and its gradient.
struct CellLosses {
  std::vector<float> reconstruction;
  std::vector<float> proteins;  ///< their part of it; empty unless TOTALVI
  std::vector<float> kl;
  std::vector<float> loss;  ///< what the gradient is of
  /// Cells x the widths of all tables of TrainedTables, in their order. A row is the gradient of
  /// its cell, or of several of its block that share a batch code; then the others' rows are left.
  std::vector<float> gradient;
  std::vector<int32_t> codes;  ///< per row of the gradient; -1 where it was left
};

/// The loss of cells as a function of the batch columns, by core/kernels. Cells are computed in
/// fixed blocks, one thread each at a time. Used by one thread, which may let others take part.
class KernelLoss {
 public:
  /// `frozen`: every table of FrozenTables, (batches, width). The batch codes of `cells` count its
  /// rows. What the arguments refer to outlives this, `frozen` excepted. `precision`: bf16 not for
  /// TOTALVI.
  static std::unique_ptr<KernelLoss> Create(const PackedNetworks& networks, const CellInputs& cells,
                                            const std::map<std::string, HostTensor>& frozen,
                                            NoiseSource& noise,
                                            Precision precision = Precision::kFloat32);
  virtual ~KernelLoss() = default;

  /// From now on the threads of `sharing`, which outlives this, compute blocks, too.
  void ShareWork(WorkSharing& sharing);

  /// `tables`: the values of every table of TrainedTables, indexed by batch codes. `use`:
  /// kLatentNoise or kElboNoise. The gradient is that of the cells' losses; it is left alone unless
  /// asked for.
  void Run(std::span<const int64_t> rows, std::span<const float* const> tables, RandomUse use,
           float kl_weight, Gradients gradients, CellLosses& out);

 protected:
  struct Request {
    std::span<const float* const> tables;
    RandomUse use;
    float kl_weight;
    Gradients gradients;
  };

  KernelLoss(const PackedNetworks& networks, int64_t block);

  /// From now on `workers` threads may run blocks at once.
  virtual void TakeWorkers(int64_t workers) = 0;
  /// Fills in `out`, whose vectors are long enough, from cell `at` on.
  virtual void RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at,
                        int64_t worker, CellLosses& out) = 0;

  int64_t gradient_width() const { return gradient_width_; }

 private:
  int64_t block_;
  int64_t gradient_width_ = 0;
  bool proteins_;
  WorkSharing alone_{nullptr};
  WorkSharing* sharing_ = &alone_;
};

}  // namespace portolan
