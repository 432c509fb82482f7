#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/archive/host_tensor.h"
#include "core/kernels/likelihood.h"
#include "core/kernels/packed_networks.h"
#include "core/matrix/cell_inputs.h"

namespace portolan {

/// What is frozen of cells, computed once and kept: the first encoder layer, the dispersions, and
/// the terms of the genes' likelihood that depend on counts and dispersion alone. Immutable.
class KeptGenes {
 public:
  /// As KernelLoss::Create.
  KeptGenes(const PackedNetworks& networks, const CellInputs& cells,
            const std::map<std::string, HostTensor>& frozen);

  /// (first width)
  const float* first(int64_t row) const { return first_.data() + row * first_width_; }
  CellCounts counts(int64_t row) const {
    return {counts_.row_columns(row), counts_.row_values(row), totals_[row]};
  }
  float count_terms(int64_t row) const { return count_terms_[row]; }
  const GeneDispersion& dispersion(int64_t row) const {
    return dispersions_[dispersions_.size() == 1 ? 0 : codes_[row]];
  }

 private:
  const CsrMatrix& counts_;
  const std::vector<int32_t>& codes_;
  int64_t first_width_;
  std::vector<GeneDispersion> dispersions_;  // one, or by batch code
  std::vector<float> first_;                 // (cells, first width)
  std::vector<float> count_terms_;
  std::vector<float> totals_;
};

/// Row `batch` of a table of columns.
std::span<const float> TableRow(const HostTensor& table, int64_t batch);

/// e^x of a row.
std::vector<float> Exponentials(std::span<const float> logs);

}  // namespace portolan
