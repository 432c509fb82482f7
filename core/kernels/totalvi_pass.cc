#include "core/kernels/totalvi_pass.h"

#include <algorithm>

#include "core/kernels/gaussian.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

// Hands out tables one after the other; a layer or head without columns gets none.
class Tables {
 public:
  explicit Tables(std::span<const float* const> tables) : tables_(tables) {}

  const float* Next() { return tables_[next_++]; }

  void Take(const PackedStack& stack, ColumnTables& out) {
    out.clear();
    for (const PackedLayer& layer : stack.layers) {
      out.push_back(layer.batch_columns_key.empty() ? nullptr : Next());
    }
  }
  void Take(const std::vector<PackedHead>& heads, ColumnTables& out) {
    out.clear();
    for (const PackedHead& head : heads) {
      out.push_back(head.batch_columns_key.empty() ? nullptr : Next());
    }
  }

 private:
  std::span<const float* const> tables_;
  size_t next_ = 0;
};

float* Add(const float* from, int64_t width, float* out) {
  AddTo(out, from, width);
  return out + width;
}

float* AddBody(const PackedBranch& packed, const BranchPass& pass, int64_t row, float* out) {
  for (size_t l = 0; l < packed.body.layers.size(); ++l) {
    if (packed.body.layers[l].batch_columns_key.empty()) continue;
    out = Add(pass.body_gradient(l, row), packed.body.layers[l].width, out);
  }
  return out;
}

float* AddHeads(const PackedBranch& packed, const BranchPass& pass, int64_t row, float* out) {
  for (size_t part = 0; part < packed.parts.size(); ++part) {
    if (packed.parts[part].batch_columns_key.empty()) continue;
    out = Add(pass.head(part, row), packed.parts[part].width, out);
  }
  return out;
}

}  // namespace

TotalviPass::TotalviPass(const PackedNetworks& networks)
    : networks_(networks),
      own_(*networks.proteins),
      packed_({&own_.genes, &own_.back, &own_.fore, &own_.mix}),
      encoder_(networks.encoder.stack, kRows),
      branches_({BranchPass(own_.genes, networks.latent, kRows),
                 BranchPass(own_.back, networks.latent, kRows),
                 BranchPass(own_.fore, networks.latent, kRows),
                 BranchPass(own_.mix, networks.latent, kRows)}),
      codes_(kRows),
      heads_(kRows * networks.encoder.heads.stride()),
      heads_gradient_(heads_.size()),
      var_(kRows * networks.latent),
      z_(kRows * networks.latent),
      z_rows_(kRows, networks.latent),
      z_gradient_(kRows * PaddedWidth(networks.latent)),
      by_prior_mean_(kRows * own_.proteins),
      by_prior_log_deviation_(by_prior_mean_.size()),
      gene_row_(2 * PaddedWidth(networks.genes)),
      gene_scratch_(ReconstructionScratch(networks.genes)),
      genes_(kRows),
      proteins_(kRows),
      kl_(kRows),
      loss_(kRows) {
  int64_t scratch =
      std::max(MultiplyTransposedScratch(kRows, networks.encoder.heads), encoder_.ScratchSize());
  for (const BranchPass& branch : branches_) scratch = std::max(scratch, branch.ScratchSize());
  scratch_ = AlignedBuffer<float>(scratch);
}

void TotalviPass::TakeColumns(std::span<const float* const> tables) {
  Tables next(tables);
  next.Take(networks_.encoder.stack, encoder_columns_);
  next.Take(own_.genes.body, columns_[kGenes].body);
  prior_mean_ = next.Next();
  prior_log_deviation_ = next.Next();
  for (const size_t b : {kBack, kFore, kMix}) next.Take(packed_[b]->body, columns_[b].body);
  for (size_t b = 0; b < kBranches; ++b) next.Take(packed_[b]->parts, columns_[b].heads);
}

void TotalviPass::Run(std::span<const TotalviCell> cells, std::span<const float* const> tables,
                      float kl_weight, bool gradients) {
  const auto rows = static_cast<int64_t>(cells.size());
  for (int64_t r = 0; r < rows; ++r) codes_[r] = cells[r].code;
  TakeColumns(tables);
  Encode(cells);
  for (size_t b = 0; b < kBranches; ++b) {
    branches_[b].Forward(z_rows_, rows, columns_[b].body, codes_);
  }
  const ProteinWeights weights = {own_.cell_mean ? kl_weight : 1.0f, kl_weight};
  for (int64_t r = 0; r < rows; ++r) {
    for (size_t b = 0; b < kBranches; ++b) {
      branches_[b].AddHeadColumns(r, columns_[b].heads, codes_[r]);
    }
    GeneTerms(cells[r], r);
    ProteinTermsOf(cells[r], r, weights);
    loss_[r] = genes_[r] + weights.reconstruction * proteins_[r] + kl_weight * kl_[r];
  }
  if (!gradients) return;
  const bool to_latent = AnyColumns(encoder_columns_);
  std::fill(z_gradient_.data(), z_gradient_.data() + z_gradient_.size(), 0.0f);
  for (BranchPass& branch : branches_) {
    branch.Backward(z_rows_, rows, scratch_.data(), to_latent ? z_gradient_.data() : nullptr);
  }
  if (to_latent) EncodeBackward(cells, kl_weight);
}

void TotalviPass::Encode(std::span<const TotalviCell> cells) {
  const auto rows = static_cast<int64_t>(cells.size());
  const int64_t width = networks_.first_width();
  const int64_t latent = networks_.latent;
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(cells[r].first, width, encoder_.first() + r * encoder_.stride(0));
  }
  encoder_.Forward(rows, encoder_columns_, codes_);
  Multiply(networks_.encoder.heads, encoder_.output(), rows, heads_.data());
  for (int64_t r = 0; r < rows; ++r) {
    const float* heads = heads_.data() + r * networks_.encoder.heads.stride();
    float* var = var_.data() + r * latent;
    float* z = z_.data() + r * latent;
    SampleGaussian(latent, heads, networks_.encoder.var_epsilon, cells[r].noise, var, z);
    z_rows_.SetDense(r, {z, static_cast<size_t>(latent)});
    kl_[r] = KlFromStandard(latent, heads, var);
  }
}

void TotalviPass::GeneTerms(const TotalviCell& cell, int64_t row) {
  float* scale = branches_[kGenes].head(0, row);
  float* logits = scale;
  float* dropout = nullptr;
  const int64_t padded = PaddedWidth(networks_.genes);
  if (networks_.likelihood == CountLikelihood::kZinb) {
    dropout = branches_[kMix].head(0, row);
    logits = gene_row_.data();
    std::copy_n(scale, padded, logits);
    std::copy_n(dropout, padded, logits + padded);
  }
  genes_[row] = ReconstructionAndGradient(networks_.likelihood, *cell.dispersion, cell.counts,
                                          networks_.genes, logits, gene_scratch_.data()) -
                cell.count_terms;
  if (dropout == nullptr) return;
  std::copy_n(logits, padded, scale);
  std::copy_n(logits + padded, padded, dropout);
}

void TotalviPass::ProteinTermsOf(const TotalviCell& cell, int64_t row,
                                 const ProteinWeights& weights) {
  const int64_t width = own_.proteins;
  const size_t mixing = own_.mix.parts.size() - 1;
  const ProteinPrior prior = {.mean = prior_mean_ + cell.code * width,
                              .log_deviation = prior_log_deviation_ + cell.code * width,
                              .by_mean = by_prior_mean_.data() + row * width,
                              .by_log_deviation = by_prior_log_deviation_.data() + row * width};
  const ProteinHeads heads = {.back_mean = branches_[kBack].head(0, row),
                              .back_scale = branches_[kBack].head(1, row),
                              .fore_scale = branches_[kFore].head(0, row),
                              .mixing = branches_[kMix].head(mixing, row)};
  const ProteinTerms terms = ProteinTermsAndGradient(own_.scale, *cell.frozen, width, cell.proteins,
                                                     cell.background_noise, weights, prior, heads);
  proteins_[row] = terms.reconstruction - cell.protein_terms;
  kl_[row] += terms.kl;
}

void TotalviPass::EncodeBackward(std::span<const TotalviCell> cells, float kl_weight) {
  const auto rows = static_cast<int64_t>(cells.size());
  const int64_t stride = networks_.encoder.heads.stride();
  for (int64_t r = 0; r < rows; ++r) {
    SampleGaussianBackward(networks_.latent, heads_.data() + r * stride, cells[r].noise,
                           var_.data() + r * networks_.latent,
                           z_gradient_.data() + r * PaddedWidth(networks_.latent), kl_weight, 0.0f,
                           heads_gradient_.data() + r * stride);
  }
  MultiplyTransposed(networks_.encoder.heads, encoder_.output(), rows, heads_gradient_.data(),
                     encoder_.output_gradient(), encoder_.output_stride(), scratch_.data());
  encoder_.Backward(rows, scratch_.data());
}

float* TotalviPass::AddGradient(int64_t row, float* out) const {
  for (size_t l = 0; l < encoder_columns_.size(); ++l) {
    if (encoder_columns_[l] == nullptr) continue;
    out = Add(encoder_.gradient(l) + row * encoder_.stride(l),
              networks_.encoder.stack.layers[l].width, out);
  }
  out = AddBody(own_.genes, branches_[kGenes], row, out);
  out = Add(by_prior_mean_.data() + row * own_.proteins, own_.proteins, out);
  out = Add(by_prior_log_deviation_.data() + row * own_.proteins, own_.proteins, out);
  for (const size_t b : {kBack, kFore, kMix}) out = AddBody(*packed_[b], branches_[b], row, out);
  for (size_t b = 0; b < kBranches; ++b) out = AddHeads(*packed_[b], branches_[b], row, out);
  return out;
}

}  // namespace portolan
