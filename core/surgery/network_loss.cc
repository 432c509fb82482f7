#include "core/surgery/network_loss.h"

#include <algorithm>

namespace portolan {

NetworkLoss::NetworkLoss(const PackedNetworks& networks, const CellInputs& cells,
                         const std::map<std::string, HostTensor>& frozen, NoiseSource& noise,
                         Precision precision)
    : KernelLoss(networks, NetworkPass::kRows),
      networks_(networks),
      codes_(cells.batch_codes),
      noise_(noise),
      genes_(networks, cells, frozen),
      lanes_(1) {
  if (precision == Precision::kBf16) gradient_heads_.emplace(networks.gene_heads);
}

void NetworkLoss::TakeTables(std::span<const float* const> tables, Lane& lane) const {
  size_t next = 0;
  const auto take = [&](const PackedStack& stack, ColumnTables& out) {
    out.clear();
    for (const PackedLayer& layer : stack.layers) {
      out.push_back(layer.batch_columns_key.empty() ? nullptr : tables[next++]);
    }
  };
  take(networks_.encoder.stack, lane.encoder);
  take(networks_.decoder, lane.decoder);
}

void NetworkLoss::RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at,
                           int64_t worker, CellLosses& out) {
  if (lanes_[worker] == nullptr) {
    lanes_[worker] = std::make_unique<Lane>(
        networks_, gradient_heads_.has_value() ? &*gradient_heads_ : nullptr);
  }
  Lane& lane = *lanes_[worker];
  TakeTables(request.tables, lane);
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t latent = networks_.latent;
  lane.latent_noise.resize(n * latent);
  noise_.Normal(request.use, rows, latent, lane.latent_noise.data());
  int64_t label_width = 0;
  if (networks_.labels.has_value()) {
    label_width = networks_.labels->labels * latent;
    lane.label_noise.resize(n * label_width);
    noise_.Normal(request.use == RandomUse::kLatentNoise ? RandomUse::kLabelLatentNoise
                                                         : RandomUse::kLabelElboNoise,
                  rows, label_width, lane.label_noise.data());
  }
  std::vector<PassCell> cells(n);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = rows[i];
    cells[i] = {.first = genes_.first(row),
                .counts = genes_.counts(row),
                .count_terms = genes_.count_terms(row),
                .dispersion = &genes_.dispersion(row),
                .code = codes_[row],
                .noise = lane.latent_noise.data() + i * latent,
                .label_noise = lane.label_noise.data() + i * label_width};
  }
  lane.pass.Run(cells, lane.encoder, lane.decoder, request.kl_weight,
                request.gradients != Gradients::kNone);
  for (int64_t i = 0; i < n; ++i) {
    const float reconstruction = lane.pass.reconstruction(i);
    const float kl = lane.pass.kl(i);
    out.reconstruction[at + i] = reconstruction;
    out.kl[at + i] = kl;
    out.loss[at + i] = reconstruction + request.kl_weight * kl;
    if (request.gradients != Gradients::kNone) {
      out.codes[at + i] = codes_[rows[i]];
      CopyGradient(lane.pass, i, out.gradient.data() + (at + i) * gradient_width());
    }
  }
}

void NetworkLoss::CopyGradient(const NetworkPass& pass, int64_t row, float* out) const {
  const auto append = [&](const PackedStack& stack, bool encoder) {
    for (size_t l = 0; l < stack.layers.size(); ++l) {
      if (stack.layers[l].batch_columns_key.empty()) continue;
      const float* from = encoder ? pass.encoder_gradient(l, row) : pass.decoder_gradient(l, row);
      out = std::copy_n(from, stack.layers[l].width, out);
    }
  };
  append(networks_.encoder.stack, true);
  append(networks_.decoder, false);
}

}  // namespace portolan
