#include "core/kernels/label_pass.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/gaussian.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

// torch clamps the probabilities of a Categorical to [eps, 1 - eps] before the logarithm.
constexpr float kProbabilityEpsilon = 1.1920928955078125e-07f;

ColumnTables LabelColumns(const PackedStack& stack) {
  ColumnTables tables;
  for (const PackedLayer& layer : stack.layers) {
    tables.push_back(layer.label_columns.empty() ? nullptr : layer.label_columns.data());
  }
  return tables;
}

}  // namespace

LabelPass::LabelPass(const PackedLabels& labels, int64_t latent, int64_t max_rows)
    : labels_(labels),
      latent_(latent),
      max_rows_(max_rows),
      classifier_(labels.classifier, max_rows),
      encoder_(labels.encoder_z2.stack, max_rows),
      decoder_(labels.decoder_z1.stack, max_rows),
      no_columns_(labels.classifier.layers.size()),
      encoder_columns_(LabelColumns(labels.encoder_z2.stack)),
      decoder_columns_(LabelColumns(labels.decoder_z1.stack)),
      classes_(max_rows * labels.classes.stride()),
      probabilities_(max_rows * labels.labels),
      by_probability_(probabilities_.size()),
      shared_(max_rows * encoder_.stride(0)),
      shared_gradient_(shared_.size()),
      z2_heads_(max_rows * labels.encoder_z2.heads.stride()),
      z2_heads_gradient_(z2_heads_.size()),
      z2_var_(max_rows * latent),
      z2_(max_rows * latent),
      z2_gradient_(max_rows * PaddedWidth(latent)),
      z2_rows_(max_rows, latent),
      z1_heads_(max_rows * labels.decoder_z1.heads.stride()),
      z1_heads_gradient_(z1_heads_.size()),
      product_(max_rows * PaddedWidth(latent)),
      reconstruction_(max_rows),
      kl_(max_rows) {
  int64_t scratch =
      std::max({classifier_.ScratchSize(), encoder_.ScratchSize(), decoder_.ScratchSize()});
  for (const PackedMatrix* w :
       {&labels.classes, &labels.encoder_z2.heads, &labels.decoder_z1.heads,
        &labels.encoder_z2.stack.layers[0].weight, &labels.decoder_z1.stack.layers[0].weight}) {
    scratch = std::max(scratch, MultiplyTransposedScratch(max_rows, *w));
  }
  if (!labels.classifier.layers.empty()) {
    scratch =
        std::max(scratch, MultiplyTransposedScratch(max_rows, labels.classifier.layers[0].weight));
  }
  scratch_ = AlignedBuffer<float>(scratch);
}

void LabelPass::Run(const Block& block, float* z1_gradient) {
  Classify(block);
  Multiply(labels_.encoder_z2.stack.layers[0].weight, *block.z1_rows, block.rows, shared_.data());
  std::fill(shared_gradient_.data(), shared_gradient_.data() + shared_gradient_.size(), 0.0f);
  std::vector<Pair> pairs;
  for (int64_t r = 0; r < block.rows; ++r) {
    reconstruction_[r] = 0;
    kl_[r] = 0;
    for (int32_t y = 0; y < labels_.labels; ++y) {
      const float q = probabilities(r)[y];
      const float clamped = std::clamp(q, kProbabilityEpsilon, 1 - kProbabilityEpsilon);
      const float log_ratio = std::log(clamped) - labels_.log_prior[y];
      kl_[r] += q * log_ratio;
      by_probability_[r * labels_.labels + y] =
          block.kl_weight * (log_ratio + (clamped == q ? 1.0f : 0.0f));
      // A NaN is kept.
      if (!(q < kSmallestLabelWeight)) pairs.push_back({r, y});
    }
  }
  const std::span<const Pair> all(pairs);
  for (size_t begin = 0; begin < all.size(); begin += max_rows_) {
    RunPairs(block, all.subspan(begin, std::min<size_t>(max_rows_, all.size() - begin)),
             z1_gradient);
  }
  if (z1_gradient == nullptr) return;
  AddProduct(labels_.encoder_z2.stack.layers[0].weight, block, shared_gradient_.data(),
             z1_gradient);
  ClassifyBackward(block, z1_gradient);
}

void LabelPass::Classify(const Block& block) {
  const ActiveRows* input = block.z1_rows;
  if (!labels_.classifier.layers.empty()) {
    Multiply(labels_.classifier.layers[0].weight, *input, block.rows, classifier_.first());
    classifier_.Forward(block.rows, no_columns_, {});
    input = &classifier_.output();
  }
  Multiply(labels_.classes, *input, block.rows, classes_.data());
  for (int64_t r = 0; r < block.rows; ++r) {
    const float* logits = classes_.data() + r * labels_.classes.stride();
    float* q = probabilities_.data() + r * labels_.labels;
    std::copy(logits, logits + labels_.labels, q);
    Softmax(labels_.labels, q);
  }
}

void LabelPass::RunPairs(const Block& block, std::span<const Pair> pairs, float* z1_gradient) {
  const auto n = static_cast<int64_t>(pairs.size());
  std::vector<int32_t> codes(n);
  for (int64_t i = 0; i < n; ++i) {
    codes[i] = pairs[i].label;
    const float* shared = shared_.data() + pairs[i].row * encoder_.stride(0);
    std::copy(shared, shared + encoder_.stride(0), encoder_.first() + i * encoder_.stride(0));
  }
  encoder_.Forward(n, encoder_columns_, codes);
  Multiply(labels_.encoder_z2.heads, encoder_.output(), n, z2_heads_.data());
  const int64_t z2_stride = labels_.encoder_z2.heads.stride();
  for (int64_t i = 0; i < n; ++i) {
    const float* heads = z2_heads_.data() + i * z2_stride;
    float* var = z2_var_.data() + i * latent_;
    float* z2 = z2_.data() + i * latent_;
    SampleGaussian(latent_, heads, labels_.encoder_z2.var_epsilon,
                   block.noise[pairs[i].row] + pairs[i].label * latent_, var, z2);
    z2_rows_.SetDense(i, {z2, static_cast<size_t>(latent_)});
    const float kl = KlFromStandard(latent_, heads, var);
    kl_[pairs[i].row] += probabilities(pairs[i].row)[pairs[i].label] * kl;
    by_probability_[pairs[i].row * labels_.labels + pairs[i].label] += block.kl_weight * kl;
  }
  Multiply(labels_.decoder_z1.stack.layers[0].weight, z2_rows_, n, decoder_.first());
  decoder_.Forward(n, decoder_columns_, codes);
  Multiply(labels_.decoder_z1.heads, decoder_.output(), n, z1_heads_.data());
  const int64_t z1_stride = labels_.decoder_z1.heads.stride();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = pairs[i].row;
    const float q = probabilities(row)[pairs[i].label];
    float* by_z1 =
        z1_gradient != nullptr ? z1_gradient + row * PaddedWidth(latent_) : product_.data();
    const float u =
        NegativeLogDensity(latent_, block.z1 + row * latent_, z1_heads_.data() + i * z1_stride, q,
                           z1_heads_gradient_.data() + i * z1_stride, by_z1);
    reconstruction_[row] += q * u;
    by_probability_[row * labels_.labels + pairs[i].label] += u;
  }
  if (z1_gradient != nullptr) PairsBackward(block, pairs);
}

void LabelPass::PairsBackward(const Block& block, std::span<const Pair> pairs) {
  const auto n = static_cast<int64_t>(pairs.size());
  MultiplyTransposed(labels_.decoder_z1.heads, decoder_.output(), n, z1_heads_gradient_.data(),
                     decoder_.output_gradient(), decoder_.output_stride(), scratch_.data());
  decoder_.Backward(n, scratch_.data());
  MultiplyTransposed(labels_.decoder_z1.stack.layers[0].weight, z2_rows_, n, decoder_.gradient(0),
                     z2_gradient_.data(), PaddedWidth(latent_), scratch_.data());
  const int64_t stride = labels_.encoder_z2.heads.stride();
  for (int64_t i = 0; i < n; ++i) {
    const Pair& pair = pairs[i];
    SampleGaussianBackward(
        latent_, z2_heads_.data() + i * stride, block.noise[pair.row] + pair.label * latent_,
        z2_var_.data() + i * latent_, z2_gradient_.data() + i * PaddedWidth(latent_),
        block.kl_weight * probabilities(pair.row)[pair.label], 0,
        z2_heads_gradient_.data() + i * stride);
  }
  MultiplyTransposed(labels_.encoder_z2.heads, encoder_.output(), n, z2_heads_gradient_.data(),
                     encoder_.output_gradient(), encoder_.output_stride(), scratch_.data());
  encoder_.Backward(n, scratch_.data());
  for (int64_t i = 0; i < n; ++i) {
    AddTo(shared_gradient_.data() + pairs[i].row * encoder_.stride(0),
          encoder_.gradient(0) + i * encoder_.stride(0), encoder_.stride(0));
  }
}

void LabelPass::ClassifyBackward(const Block& block, float* z1_gradient) {
  const int64_t stride = labels_.classes.stride();
  for (int64_t r = 0; r < block.rows; ++r) {
    const float* q = probabilities(r);
    const float* by_q = by_probability_.data() + r * labels_.labels;
    float mean = 0;
    for (int64_t y = 0; y < labels_.labels; ++y) mean += q[y] * by_q[y];
    float* out = classes_.data() + r * stride;
    std::fill(out, out + stride, 0.0f);
    for (int64_t y = 0; y < labels_.labels; ++y) out[y] = q[y] * (by_q[y] - mean);
  }
  if (labels_.classifier.layers.empty()) {
    AddProduct(labels_.classes, block, classes_.data(), z1_gradient);
    return;
  }
  MultiplyTransposed(labels_.classes, classifier_.output(), block.rows, classes_.data(),
                     classifier_.output_gradient(), classifier_.output_stride(), scratch_.data());
  classifier_.Backward(block.rows, scratch_.data());
  AddProduct(labels_.classifier.layers[0].weight, block, classifier_.gradient(0), z1_gradient);
}

void LabelPass::AddProduct(const PackedMatrix& w, const Block& block, const float* gradient,
                           float* z1_gradient) {
  MultiplyTransposed(w, *block.z1_rows, block.rows, gradient, product_.data(), PaddedWidth(latent_),
                     scratch_.data());
  for (int64_t r = 0; r < block.rows; ++r) {
    AddTo(z1_gradient + r * PaddedWidth(latent_), product_.data() + r * PaddedWidth(latent_),
          latent_);
  }
}

}  // namespace portolan
