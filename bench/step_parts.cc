#include "bench/step_parts.h"

#include <algorithm>
#include <numeric>

#include "core/kernels/gaussian.h"
#include "core/kernels/layers.h"

namespace portolan::bench {
namespace {

constexpr float kKlWeight = 0.1f;

ColumnTables TablesOf(const PackedStack& stack, const float* columns) {
  ColumnTables tables;
  for (const PackedLayer& layer : stack.layers) {
    tables.push_back(layer.batch_columns_key.empty() ? nullptr : columns);
  }
  return tables;
}

// Of a product with a matrix, forward or back.
double FlopsOf(const PackedMatrix& w) {
  return 2.0 * static_cast<double>(w.inputs()) * static_cast<double>(w.stride());
}

}  // namespace

StepParts::StepParts(const Model& model, const TrainingCells& cells)
    : networks_(*model.packed()),
      cells_(cells),
      source_(0, cells),
      rows_(kRows),
      codes_(kRows, 0),
      encoder_(networks_.encoder.stack, kRows),
      decoder_(networks_.decoder, kRows),
      columns_(PaddedWidth(model.description().architecture.n_hidden), 0.01f),
      encoder_columns_(TablesOf(networks_.encoder.stack, columns_.data())),
      decoder_columns_(TablesOf(networks_.decoder, columns_.data())),
      dispersion_(networks_.theta),
      noise_(kRows * networks_.latent),
      first_(kRows * encoder_.stride(0)),
      heads_(kRows * networks_.encoder.heads.stride()),
      heads_gradient_(heads_.size()),
      var_(kRows * networks_.latent),
      z_(kRows * networks_.latent),
      z_rows_(kRows, networks_.latent),
      z_gradient_(kRows * PaddedWidth(networks_.latent)),
      logits_(kRows * networks_.gene_heads.stride()),
      genes_(logits_.size()),
      gene_scratch_(ReconstructionScratch(networks_.genes)),
      scratch_(std::max({MultiplyTransposedScratch(kRows, networks_.gene_heads),
                         MultiplyTransposedScratch(kRows, networks_.encoder.heads),
                         MultiplyTransposedScratch(kRows, networks_.decoder.layers[0].weight),
                         encoder_.ScratchSize(), decoder_.ScratchSize()})) {
  std::iota(rows_.begin(), rows_.end(), 0);
  for (int64_t r = 0; r < kRows; ++r) {
    SparseRow(cells_.counts.row_columns(r), cells_.counts.row_values(r),
              networks_.first_weight_t.data(), networks_.first_bias.data(), networks_.first_width(),
              networks_.log1p_counts, gene_scratch_.data(), first_.data() + r * encoder_.stride(0));
  }
  if (networks_.labels.has_value()) {
    labels_.emplace(*networks_.labels, networks_.latent, kRows);
    label_noise_.resize(kRows * networks_.labels->labels * networks_.latent);
  }
}

std::vector<StepPart> StepParts::Parts() {
  const auto part = [this](const char* name, void (StepParts::*work)(), double flops = 0) {
    return StepPart{name, {}, [this, work] { (this->*work)(); }, flops};
  };
  const double heads = FlopsOf(networks_.gene_heads);
  std::vector<StepPart> parts = {part("first_layer_lookup", &StepParts::LookUp),
                                 part("noise", &StepParts::Noise),
                                 part("encoder", &StepParts::Encode),
                                 part("decoder_body", &StepParts::DecodeBody),
                                 part("gene_heads", &StepParts::DecodeHeads, heads),
                                 part("likelihood", &StepParts::Likelihood),
                                 part("gene_heads_back", &StepParts::DecodeHeadsBackward, heads),
                                 part("decoder_body_back", &StepParts::DecodeBodyBackward),
                                 part("encoder_back", &StepParts::EncodeBackward)};
  if (labels_.has_value()) parts.push_back(part("label_sums", &StepParts::LabelSums));
  for (StepPart& each : parts) {
    // These work in place: what they find is put there again.
    if (each.name == "likelihood") {
      each.prepare = [this] {
        std::copy(logits_.data(), logits_.data() + logits_.size(), genes_.data());
      };
    } else if (each.name == "encoder") {
      each.prepare = [this] { LookUp(); };
    } else if (each.name == "decoder_body_back") {
      each.prepare = [this] { DecodeHeadsBackward(); };
    }
  }
  // Once through, so that every part finds what the one before it leaves.
  for (const StepPart& each : parts) {
    if (each.prepare) each.prepare();
    each.work();
  }
  return parts;
}

void StepParts::LookUp() {
  std::copy(first_.data(), first_.data() + first_.size(), encoder_.first());
}

void StepParts::Noise() {
  source_.Normal(RandomUse::kLatentNoise, rows_, networks_.latent, noise_.data());
  if (!labels_.has_value()) return;
  source_.Normal(RandomUse::kLabelLatentNoise, rows_, networks_.labels->labels * networks_.latent,
                 label_noise_.data());
}

void StepParts::Encode() {
  encoder_.Forward(kRows, encoder_columns_, codes_);
  Multiply(networks_.encoder.heads, encoder_.output(), kRows, heads_.data());
  const int64_t latent = networks_.latent;
  for (int64_t r = 0; r < kRows; ++r) {
    float* z = z_.data() + r * latent;
    SampleGaussian(latent, heads_.data() + r * networks_.encoder.heads.stride(),
                   networks_.encoder.var_epsilon, noise_.data() + r * latent,
                   var_.data() + r * latent, z);
    z_rows_.SetDense(r, {z, static_cast<size_t>(latent)});
  }
}

void StepParts::DecodeBody() {
  Multiply(networks_.decoder.layers[0].weight, z_rows_, kRows, decoder_.first());
  decoder_.Forward(kRows, decoder_columns_, codes_);
}

void StepParts::DecodeHeads() {
  Multiply(networks_.gene_heads, decoder_.output(), kRows, logits_.data());
}

void StepParts::Likelihood() {
  for (int64_t r = 0; r < kRows; ++r) {
    const auto counts = cells_.counts.row_values(r);
    const CellCounts cell = {cells_.counts.row_columns(r), counts,
                             std::accumulate(counts.begin(), counts.end(), 0.0f)};
    ReconstructionAndGradient(networks_.likelihood, dispersion_, cell, networks_.genes,
                              genes_.data() + r * networks_.gene_heads.stride(),
                              gene_scratch_.data());
  }
}

void StepParts::DecodeHeadsBackward() {
  MultiplyTransposed(networks_.gene_heads, decoder_.output(), kRows, genes_.data(),
                     decoder_.output_gradient(), decoder_.output_stride(), scratch_.data());
}

void StepParts::DecodeBodyBackward() {
  decoder_.Backward(kRows, scratch_.data());
  MultiplyTransposed(networks_.decoder.layers[0].weight, z_rows_, kRows, decoder_.gradient(0),
                     z_gradient_.data(), PaddedWidth(networks_.latent), scratch_.data());
}

void StepParts::EncodeBackward() {
  const int64_t stride = networks_.encoder.heads.stride();
  for (int64_t r = 0; r < kRows; ++r) {
    SampleGaussianBackward(networks_.latent, heads_.data() + r * stride,
                           noise_.data() + r * networks_.latent, var_.data() + r * networks_.latent,
                           z_gradient_.data() + r * PaddedWidth(networks_.latent), kKlWeight, 0,
                           heads_gradient_.data() + r * stride);
  }
  MultiplyTransposed(networks_.encoder.heads, encoder_.output(), kRows, heads_gradient_.data(),
                     encoder_.output_gradient(), encoder_.output_stride(), scratch_.data());
  encoder_.Backward(kRows, scratch_.data());
}

void StepParts::LabelSums() {
  std::vector<const float*> noise(kRows);
  const int64_t width = networks_.labels->labels * networks_.latent;
  for (int64_t r = 0; r < kRows; ++r) noise[r] = label_noise_.data() + r * width;
  labels_->Run({kRows, z_.data(), &z_rows_, noise, kKlWeight}, z_gradient_.data());
}

}  // namespace portolan::bench
