#include "core/kernels/network_pass.h"

#include <algorithm>

#include "core/kernels/gaussian.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

constexpr float kLog2Pi = 1.8378770664f;

}  // namespace

NetworkPass::NetworkPass(const PackedNetworks& networks, const Bf16Matrix* gradient_heads)
    : networks_(networks),
      gradient_heads_(gradient_heads),
      encoder_(networks.encoder.stack, kRows),
      decoder_(networks.decoder, kRows),
      codes_(kRows),
      heads_(kRows * networks.encoder.heads.stride()),
      heads_gradient_(heads_.size()),
      var_(kRows * networks.latent),
      z_(kRows * networks.latent),
      z_rows_(kRows, networks.latent),
      z_gradient_(kRows * PaddedWidth(networks.latent)),
      genes_(kRows * networks.gene_heads.stride()),
      gene_scratch_(ReconstructionScratch(networks.genes)),
      scratch_(std::max({MultiplyTransposedScratch(kRows, networks.gene_heads),
                         MultiplyTransposedScratch(kRows, networks.encoder.heads),
                         MultiplyTransposedScratch(kRows, networks.decoder.layers[0].weight),
                         encoder_.ScratchSize(), decoder_.ScratchSize()})),
      reconstruction_(kRows),
      kl_(kRows) {
  if (gradient_heads != nullptr) gradient_scratch_ = {*gradient_heads, kRows};
  if (networks.labels.has_value()) labels_.emplace(*networks.labels, networks.latent, kRows);
}

void NetworkPass::Run(std::span<const PassCell> cells, const ColumnTables& encoder_columns,
                      const ColumnTables& decoder_columns, float kl_weight, bool gradients) {
  const auto rows = static_cast<int64_t>(cells.size());
  for (int64_t r = 0; r < rows; ++r) codes_[r] = cells[r].code;
  Encode(cells, encoder_columns);
  Decode(cells, decoder_columns);
  const bool to_latent = gradients && AnyColumns(encoder_columns);
  if (gradients) DecodeBackward(rows, to_latent);
  if (labels_.has_value()) {
    std::vector<const float*> noise(rows);
    for (int64_t r = 0; r < rows; ++r) noise[r] = cells[r].label_noise;
    labels_->Run({rows, z_.data(), &z_rows_, noise, kl_weight},
                 to_latent ? z_gradient_.data() : nullptr);
    for (int64_t r = 0; r < rows; ++r) {
      // The density of the encoder at its own sample.
      float squares = 0;
      for (int64_t d = 0; d < networks_.latent; ++d) {
        squares += cells[r].noise[d] * cells[r].noise[d];
      }
      const float logs = NegativeLogVariances(networks_.latent, var_.data() + r * networks_.latent);
      const float log_density =
          0.5f * (logs - squares - static_cast<float>(networks_.latent) * kLog2Pi);
      reconstruction_[r] += log_density + labels_->reconstruction(r);
      kl_[r] = labels_->kl(r);
    }
  }
  if (to_latent) EncodeBackward(cells, kl_weight);
}

void NetworkPass::Encode(std::span<const PassCell> cells, const ColumnTables& columns) {
  const auto rows = static_cast<int64_t>(cells.size());
  const int64_t width = networks_.first_width();
  const int64_t latent = networks_.latent;
  for (int64_t r = 0; r < rows; ++r) {
    std::copy(cells[r].first, cells[r].first + width, encoder_.first() + r * encoder_.stride(0));
  }
  encoder_.Forward(rows, columns, codes_);
  Multiply(networks_.encoder.heads, encoder_.output(), rows, heads_.data());
  for (int64_t r = 0; r < rows; ++r) {
    const float* heads = heads_.data() + r * networks_.encoder.heads.stride();
    float* var = var_.data() + r * latent;
    float* z = z_.data() + r * latent;
    SampleGaussian(latent, heads, networks_.encoder.var_epsilon, cells[r].noise, var, z);
    z_rows_.SetDense(r, {z, static_cast<size_t>(latent)});
    if (!labels_.has_value()) kl_[r] = KlFromStandard(latent, heads, var);
  }
}

void NetworkPass::Decode(std::span<const PassCell> cells, const ColumnTables& columns) {
  const auto rows = static_cast<int64_t>(cells.size());
  Multiply(networks_.decoder.layers[0].weight, z_rows_, rows, decoder_.first());
  decoder_.Forward(rows, columns, codes_);
  Multiply(networks_.gene_heads, decoder_.output(), rows, genes_.data());
  for (int64_t r = 0; r < rows; ++r) {
    reconstruction_[r] =
        ReconstructionAndGradient(
            networks_.likelihood, *cells[r].dispersion, cells[r].counts, networks_.genes,
            genes_.data() + r * networks_.gene_heads.stride(), gene_scratch_.data()) -
        cells[r].count_terms;
  }
}

void NetworkPass::DecodeBackward(int64_t rows, bool to_latent) {
  if (gradient_heads_ != nullptr) {
    gradient_heads_->MultiplyTransposed(decoder_.output(), rows, genes_.data(),
                                        decoder_.output_gradient(), decoder_.output_stride(),
                                        gradient_scratch_);
  } else {
    MultiplyTransposed(networks_.gene_heads, decoder_.output(), rows, genes_.data(),
                       decoder_.output_gradient(), decoder_.output_stride(), scratch_.data());
  }
  decoder_.Backward(rows, scratch_.data());
  if (!to_latent) return;
  MultiplyTransposed(networks_.decoder.layers[0].weight, z_rows_, rows, decoder_.gradient(0),
                     z_gradient_.data(), PaddedWidth(networks_.latent), scratch_.data());
}

void NetworkPass::EncodeBackward(std::span<const PassCell> cells, float kl_weight) {
  const auto rows = static_cast<int64_t>(cells.size());
  const int64_t stride = networks_.encoder.heads.stride();
  const bool density = labels_.has_value();
  for (int64_t r = 0; r < rows; ++r) {
    SampleGaussianBackward(
        networks_.latent, heads_.data() + r * stride, cells[r].noise,
        var_.data() + r * networks_.latent, z_gradient_.data() + r * PaddedWidth(networks_.latent),
        density ? 0.0f : kl_weight, density ? 1.0f : 0.0f, heads_gradient_.data() + r * stride);
  }
  MultiplyTransposed(networks_.encoder.heads, encoder_.output(), rows, heads_gradient_.data(),
                     encoder_.output_gradient(), encoder_.output_stride(), scratch_.data());
  encoder_.Backward(rows, scratch_.data());
}

}  // namespace portolan
