#include "core/surgery/totalvi_loss.h"

#include <algorithm>

#include "core/kernels/batch_tables.h"
#include "core/kernels/count_terms.h"

namespace portolan {

TotalviLoss::TotalviLoss(const PackedNetworks& networks, const CellInputs& cells,
                         const std::map<std::string, HostTensor>& frozen, NoiseSource& noise)
    : KernelLoss(networks, TotalviPass::kRows),
      networks_(networks),
      cells_(cells),
      noise_(noise),
      genes_(networks, cells, frozen),
      no_proteins_(networks.proteins->proteins),
      lanes_(1) {
  KeepProteins(frozen);
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

void TotalviLoss::RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at,
                           int64_t worker, CellLosses& out) {
  if (lanes_[worker] == nullptr) lanes_[worker] = std::make_unique<Lane>(networks_);
  Lane& lane = *lanes_[worker];
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
    cells[i] = {.first = genes_.first(row),
                .counts = genes_.counts(row),
                .count_terms = genes_.count_terms(row),
                .dispersion = &genes_.dispersion(row),
                .proteins = ProteinsOf(row),
                .protein_terms = protein_terms_[row],
                .frozen = &frozen_[code],
                .code = code,
                .noise = lane.latent_noise.data() + i * latent,
                .background_noise = lane.background_noise.data() + i * proteins};
  }
  lane.pass.Run(cells, request.tables, request.kl_weight, request.gradients != Gradients::kNone);
  for (int64_t i = 0; i < n; ++i) {
    out.reconstruction[at + i] = lane.pass.genes(i) + lane.pass.proteins(i);
    out.proteins[at + i] = lane.pass.proteins(i);
    out.kl[at + i] = lane.pass.kl(i);
    out.loss[at + i] = lane.pass.loss(i);
  }
  if (request.gradients != Gradients::kNone) {
    TakeGradients(rows, lane.pass, at, request.gradients == Gradients::kSummed, out);
  }
}

// A cell's gradient is as wide as all genes, so those of a batch are summed while they are in the
// cache: in the order of the rows, into the row of the first of them.
void TotalviLoss::TakeGradients(std::span<const int64_t> rows, const TotalviPass& pass, int64_t at,
                                bool summed, CellLosses& out) const {
  const auto n = static_cast<int64_t>(rows.size());
  for (int64_t i = 0; i < n; ++i) {
    const int32_t code = cells_.batch_codes[rows[i]];
    const auto codes = out.codes.begin() + at;
    const int64_t first = summed ? std::find(codes, codes + i, code) - codes : i;
    float* gradient = out.gradient.data() + (at + first) * gradient_width();
    codes[i] = first == i ? code : -1;
    if (first == i) std::fill_n(gradient, gradient_width(), 0.0f);
    pass.AddGradient(i, gradient);
  }
}

}  // namespace portolan
