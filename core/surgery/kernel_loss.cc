#include "core/surgery/kernel_loss.h"

#include <algorithm>

#include "core/kernels/layers.h"

namespace portolan {
namespace {

int64_t ColumnsWidth(const PackedStack& stack) {
  int64_t width = 0;
  for (const PackedLayer& layer : stack.layers) {
    if (!layer.batch_columns_key.empty()) width += layer.width;
  }
  return width;
}

}  // namespace

KernelLoss::KernelLoss(const PackedNetworks& networks, const CsrMatrix& counts,
                       std::span<const int32_t> codes, const std::vector<std::vector<float>>& theta,
                       NoiseSource& noise)
    : networks_(networks),
      counts_(counts),
      codes_(codes),
      noise_(noise),
      gradient_width_(ColumnsWidth(networks.encoder.stack) + ColumnsWidth(networks.decoder)),
      lanes_(1) {
  std::vector<CountTermTable> tables;
  for (const std::vector<float>& values : theta) {
    dispersions_.emplace_back(values);
    tables.emplace_back(networks.likelihood, values);
  }
  const int64_t width = networks.first_width();
  AlignedBuffer<float> row(PaddedWidth(width));
  AlignedBuffer<float> scratch(counts.cols + kPanel);
  first_.resize(counts.rows() * width);
  for (int64_t i = 0; i < counts.rows(); ++i) {
    const auto genes = counts.row_columns(i);
    const auto values = counts.row_values(i);
    SparseRow(genes, values, networks.first_weight_t.data(), networks.first_bias.data(), width,
              networks.log1p_counts, scratch.data(), row.data());
    std::copy(row.data(), row.data() + width, first_.data() + i * width);
    const CountTermTable& table = tables[tables.size() == 1 ? 0 : codes[i]];
    count_terms_.push_back(static_cast<float>(table.Of(genes, values)));
    double total = 0;
    for (const float value : values) total += value;
    totals_.push_back(static_cast<float>(total));
  }
}

void KernelLoss::ShareWork(WorkSharing& sharing) {
  sharing_ = &sharing;
  lanes_.resize(sharing.workers());
}

void KernelLoss::Run(std::span<const int64_t> rows, const NetworkColumns& columns, RandomUse use,
                     float kl_weight, bool gradients, CellLosses& out) {
  out.reconstruction.resize(rows.size());
  out.kl.resize(rows.size());
  if (gradients) out.gradient.resize(rows.size() * gradient_width_);
  const Request request = {columns, use, kl_weight, gradients};
  constexpr auto kBlock = static_cast<int64_t>(NetworkPass::kRows);
  const auto n = static_cast<int64_t>(rows.size());
  sharing_->ForEach((n + kBlock - 1) / kBlock, [&](int64_t block, int64_t worker) {
    std::unique_ptr<Lane>& lane = lanes_[worker];
    if (lane == nullptr) lane = std::make_unique<Lane>(networks_);
    const int64_t at = block * kBlock;
    RunBlock(rows.subspan(at, std::min(kBlock, n - at)), request, at, *lane, out);
  });
}

void KernelLoss::RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at,
                          Lane& lane, CellLosses& out) {
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
    const int32_t code = codes_[row];
    cells[i] = {.first = first_.data() + row * networks_.first_width(),
                .counts = {counts_.row_columns(row), counts_.row_values(row), totals_[row]},
                .count_terms = count_terms_[row],
                .dispersion = &dispersions_[dispersions_.size() == 1 ? 0 : code],
                .code = code,
                .noise = lane.latent_noise.data() + i * latent,
                .label_noise = lane.label_noise.data() + i * label_width};
  }
  lane.pass.Run(cells, request.columns.encoder, request.columns.decoder, request.kl_weight,
                request.gradients);
  for (int64_t i = 0; i < n; ++i) {
    out.reconstruction[at + i] = lane.pass.reconstruction(i);
    out.kl[at + i] = lane.pass.kl(i);
    if (!request.gradients) continue;
    float* gradient = out.gradient.data() + (at + i) * gradient_width_;
    const auto append = [&](const PackedStack& stack, bool encoder) {
      for (size_t l = 0; l < stack.layers.size(); ++l) {
        if (stack.layers[l].batch_columns_key.empty()) continue;
        const float* from = encoder ? lane.pass.encoder_gradient(l, i) : lane.pass.decoder_gradient(l, i);
        gradient = std::copy(from, from + stack.layers[l].width, gradient);
      }
    };
    append(networks_.encoder.stack, true);
    append(networks_.decoder, false);
  }
}

}  // namespace portolan
