#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "core/archive/host_tensor.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/cell_inputs.h"
#include "core/model/noise.h"
#include "core/surgery/kernel_loss.h"

namespace portolan {

/// The loss of cells as a function of the batch columns, by core/kernels. Used by one thread.
class ColumnLoss {
 public:
  /// `frozen`: every table of FrozenTables, (batches, width). The batch codes of `cells` count its
  /// rows. What `networks`, `cells` and `noise` refer to outlives this.
  static std::unique_ptr<ColumnLoss> Create(const PackedNetworks& networks, const CellInputs& cells,
                                            const std::map<std::string, HostTensor>& frozen,
                                            NoiseSource& noise);
  virtual ~ColumnLoss() = default;

  /// `tables`: the values of every table of TrainedTables, indexed by batch codes. `use`:
  /// kLatentNoise or kElboNoise. The gradient is that of every cell's loss, cells x the sum of the
  /// tables' widths; it is left alone unless asked for.
  virtual void Run(std::span<const int64_t> rows, std::span<const float* const> tables,
                   RandomUse use, float kl_weight, bool gradients, CellLosses& out) = 0;
};

/// Row `batch` of a table.
std::span<const float> TableRow(const HostTensor& table, int64_t batch);

/// e^x of a row.
std::vector<float> Exponentials(std::span<const float> logs);

}  // namespace portolan
