#include "core/kernels/first_layer_row.h"

#include <span>

#include "core/kernels/layers.h"

namespace portolan {
namespace {

float Divisor(std::span<const float> values, int64_t features, bool cell_mean) {
  if (!cell_mean) return 1;
  double sum = 0;
  for (const float value : values) sum += value;
  return static_cast<float>(1 + sum / static_cast<double>(features));
}

int64_t Features(const PackedNetworks& networks) {
  return networks.genes + (networks.proteins.has_value() ? networks.proteins->proteins : 0);
}

}  // namespace

void JoinRow(const CellInputs& cells, int64_t row, int64_t proteins, bool cell_mean,
             JoinedRow& out) {
  const auto genes = cells.counts.row_columns(row);
  const auto counts = cells.counts.row_values(row);
  const float divisor = Divisor(counts, cells.counts.cols, cell_mean);
  out.features.assign(genes.begin(), genes.end());
  out.values.clear();
  for (const float count : counts) out.values.push_back(count / divisor);
  if (cells.proteins.n_proteins == 0) return;
  const std::span<const float> values(cells.proteins.values.data() + row * proteins,
                                      static_cast<size_t>(proteins));
  const float protein_divisor = Divisor(values, proteins, cell_mean);
  for (int64_t i = 0; i < proteins; ++i) {
    if (values[i] == 0) continue;
    out.features.push_back(static_cast<int32_t>(cells.counts.cols + i));
    out.values.push_back(values[i] / protein_divisor);
  }
}

FirstLayerRow::FirstLayerRow(const PackedNetworks& networks, const CellInputs& cells)
    : networks_(networks), cells_(cells), scratch_(Features(networks) + kPanel) {}

void FirstLayerRow::Run(int64_t row, float* out) {
  std::span<const int32_t> features = cells_.counts.row_columns(row);
  std::span<const float> values = cells_.counts.row_values(row);
  if (networks_.proteins.has_value()) {
    JoinRow(cells_, row, networks_.proteins->proteins, networks_.proteins->cell_mean, joined_);
    features = joined_.features;
    values = joined_.values;
  }
  SparseRow(features, values, networks_.first_weight_t.data(), networks_.first_bias.data(),
            networks_.first_width(), networks_.log1p_counts, scratch_.data(), out);
}

}  // namespace portolan
