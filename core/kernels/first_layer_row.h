#pragma once

#include <cstdint>
#include <vector>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/cell_inputs.h"

namespace portolan {

/// A cell's non-zero features as TOTALVI's encoder sees them, before the logarithm: genes, then
/// proteins, which stand behind the genes.
struct JoinedRow {
  std::vector<int32_t> features;
  std::vector<float> values;
};

/// Fills `out` from row `row`. `cell_mean`: counts are divided by 1 + their mean over all genes
/// (over all `proteins`). Proteins that did not come with the cells are zeros.
void JoinRow(const CellInputs& cells, int64_t row, int64_t proteins, bool cell_mean,
             JoinedRow& out);

/// The first encoder layer of cells without batch columns, one by one. Used by one thread.
class FirstLayerRow {
 public:
  /// What both refer to outlives this object.
  FirstLayerRow(const PackedNetworks& networks, const CellInputs& cells);

  /// out: PaddedWidth(networks.first_width()) floats on a 64-byte boundary, zeros in the padding.
  void Run(int64_t row, float* out);

 private:
  const PackedNetworks& networks_;
  CellInputs cells_;
  JoinedRow joined_;
  AlignedBuffer<float> scratch_;
};

}  // namespace portolan
