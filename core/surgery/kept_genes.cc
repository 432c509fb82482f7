#include "core/surgery/kept_genes.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/batch_tables.h"
#include "core/kernels/count_terms.h"
#include "core/kernels/first_layer_row.h"

namespace portolan {

std::span<const float> TableRow(const HostTensor& table, int64_t batch) {
  const auto width = static_cast<size_t>(table.shape()[1]);
  return table.floats().subspan(static_cast<size_t>(batch) * width, width);
}

std::vector<float> Exponentials(std::span<const float> logs) {
  std::vector<float> values(logs.begin(), logs.end());
  for (float& value : values) value = std::exp(value);
  return values;
}

KeptGenes::KeptGenes(const PackedNetworks& networks, const CellInputs& cells,
                     const std::map<std::string, HostTensor>& frozen)
    : counts_(cells.counts), codes_(cells.batch_codes), first_width_(networks.first_width()) {
  std::vector<CountTermTable> tables;
  const auto add = [&](const std::vector<float>& theta) {
    dispersions_.emplace_back(theta);
    tables.emplace_back(networks.likelihood, theta);
  };
  if (!networks.theta.empty()) {
    add(networks.theta);
  } else {
    const HostTensor& logs = frozen.at(kGeneDispersionKey);
    for (int64_t b = 0; b < logs.shape()[0]; ++b) add(Exponentials(TableRow(logs, b)));
  }
  FirstLayerRow first(networks, cells);
  AlignedBuffer<float> row(PaddedWidth(first_width_));
  first_.resize(counts_.rows() * first_width_);
  for (int64_t i = 0; i < counts_.rows(); ++i) {
    first.Run(i, row.data());
    std::copy_n(row.data(), first_width_, first_.data() + i * first_width_);
    const CountTermTable& table = tables[tables.size() == 1 ? 0 : codes_[i]];
    const auto values = counts_.row_values(i);
    count_terms_.push_back(static_cast<float>(table.Of(counts_.row_columns(i), values)));
    double total = 0;
    for (const float value : values) total += value;
    totals_.push_back(static_cast<float>(total));
  }
}

}  // namespace portolan
