#include "core/surgery/totalvi_loss.h"

#include <algorithm>

#include "core/kernels/batch_tables.h"
#include "core/kernels/first_layer_row.h"

namespace portolan {

TotalviLoss::TotalviLoss(const PackedNetworks& networks, const CellInputs& cells,
                         const std::vector<std::vector<float>>& theta,
                         const std::map<std::string, HostTensor>& frozen, NoiseSource& noise)
    : networks_(networks),
      cells_(cells),
      noise_(noise),
      no_proteins_(networks.proteins->proteins),
      lane_(std::make_unique<Lane>(networks)) {
  for (const BatchTable& table : TrainedTables(networks)) gradient_width_ += table.width;
  KeepGenes(theta);
  KeepProteins(frozen);
}

void TotalviLoss::KeepGenes(const std::vector<std::vector<float>>& theta) {
  std::vector<CountTermTable> tables;
  for (const std::vector<float>& values : theta) {
    dispersions_.emplace_back(values);
    tables.emplace_back(networks_.likelihood, values);
  }
  const CsrMatrix& counts = cells_.counts;
  const int64_t width = networks_.first_width();
  FirstLayerRow first(networks_, cells_);
  AlignedBuffer<float> row(PaddedWidth(width));
  first_.resize(counts.rows() * width);
  for (int64_t i = 0; i < counts.rows(); ++i) {
    first.Run(i, row.data());
    std::copy_n(row.data(), width, first_.data() + i * width);
    const CountTermTable& table = tables[tables.size() == 1 ? 0 : cells_.batch_codes[i]];
    const auto values = counts.row_values(i);
    count_terms_.push_back(static_cast<float>(table.Of(counts.row_columns(i), values)));
    double total = 0;
    for (const float value : values) total += value;
    totals_.push_back(static_cast<float>(total));
  }
}

const float* TotalviLoss::ProteinsOf(int64_t row) const {
  const ProteinCounts& proteins = cells_.proteins;
  return proteins.n_proteins == 0 ? no_proteins_.data()
                                  : proteins.values.data() + row * proteins.n_proteins;
}

void TotalviLoss::KeepProteins(const std::map<std::string, HostTensor>& frozen) {
  const PackedProteins& p = *networks_.proteins;
  const HostTensor& masks = frozen.at(kProteinMaskKey);
  std::vector<CountTermTable> tables;
  for (int64_t batch = 0; batch < masks.shape()[0]; ++batch) {
    std::vector<float> theta = p.theta;
    if (theta.empty()) theta = Exponentials(TableRow(frozen.at(kProteinDispersionKey), batch));
    std::span<const float> efficiency;
    if (p.cell_mean) efficiency = TableRow(frozen.at(kLogEfficiencyKey), batch);
    frozen_.emplace_back(theta, efficiency, TableRow(masks, batch));
    tables.emplace_back(CountLikelihood::kNb, theta);
  }
  std::vector<int32_t> which;
  std::vector<float> counts;
  for (int64_t row = 0; row < cells_.counts.rows(); ++row) {
    const int32_t code = cells_.batch_codes[row];
    const float* values = ProteinsOf(row);
    which.clear();
    counts.clear();
    for (int32_t i = 0; i < p.proteins; ++i) {
      if (values[i] == 0 || frozen_[code].measured()[i] == 0) continue;
      which.push_back(i);
      counts.push_back(values[i]);
    }
    protein_terms_.push_back(static_cast<float>(tables[code].Of(which, counts)));
  }
}

void TotalviLoss::Run(std::span<const int64_t> rows, std::span<const float* const> tables,
                      RandomUse use, float kl_weight, bool gradients, CellLosses& out) {
  for (auto* terms : {&out.reconstruction, &out.proteins, &out.kl, &out.loss}) {
    terms->resize(rows.size());
  }
  if (gradients) out.gradient.resize(rows.size() * gradient_width_);
  const Request request = {tables, use, kl_weight, gradients};
  constexpr auto kBlock = static_cast<size_t>(TotalviPass::kRows);
  for (size_t at = 0; at < rows.size(); at += kBlock) {
    RunBlock(rows.subspan(at, std::min(kBlock, rows.size() - at)), request,
             static_cast<int64_t>(at), *lane_, out);
  }
}

void TotalviLoss::RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at,
                           Lane& lane, CellLosses& out) {
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t latent = networks_.latent;
  const int64_t proteins = networks_.proteins->proteins;
  lane.latent_noise.resize(n * latent);
  noise_.Normal(request.use, rows, latent, lane.latent_noise.data());
  lane.background_noise.resize(n * proteins);
  noise_.Normal(request.use == RandomUse::kLatentNoise ? RandomUse::kBackgroundNoise
                                                       : RandomUse::kBackgroundElboNoise,
                rows, proteins, lane.background_noise.data());
  std::vector<TotalviCell> cells(n);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = rows[i];
    const int32_t code = cells_.batch_codes[row];
    cells[i] = {
        .first = first_.data() + row * networks_.first_width(),
        .counts = {cells_.counts.row_columns(row), cells_.counts.row_values(row), totals_[row]},
        .count_terms = count_terms_[row],
        .dispersion = &dispersions_[dispersions_.size() == 1 ? 0 : code],
        .proteins = ProteinsOf(row),
        .protein_terms = protein_terms_[row],
        .frozen = &frozen_[code],
        .code = code,
        .noise = lane.latent_noise.data() + i * latent,
        .background_noise = lane.background_noise.data() + i * proteins};
  }
  lane.pass.Run(cells, request.tables, request.kl_weight, request.gradients);
  for (int64_t i = 0; i < n; ++i) {
    out.reconstruction[at + i] = lane.pass.genes(i) + lane.pass.proteins(i);
    out.proteins[at + i] = lane.pass.proteins(i);
    out.kl[at + i] = lane.pass.kl(i);
    out.loss[at + i] = lane.pass.loss(i);
    if (request.gradients) {
      lane.pass.CopyGradient(i, out.gradient.data() + (at + i) * gradient_width_);
    }
  }
}

}  // namespace portolan
