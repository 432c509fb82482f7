#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/active_rows.h"
#include "core/kernels/packed_networks.h"
#include "core/kernels/stack_pass.h"

namespace portolan {

/// Below this probability q(y|z1) a label of SCANVI's sums is left out. What it would add to a
/// cell's loss is q(y|z1) times its own terms u = -log p(z1|z2, y) and KL(q(z2|z1, y)): less than
/// half a unit in the last place of a float32 loss as long as u + KL is below 2^8 times that loss.
/// The same holds for the gradient, of which q(y|z1) is a factor.
inline constexpr float kSmallestLabelWeight = 0x1p-33f;

/// SCANVI's sums over labels for a block of cells, and back to z1:
///   reconstruction: sum_y q(y|z1) (-log p(z1 | z2, y));
///   kl:             sum_y q(y|z1) KL(q(z2|z1, y) || N(0, 1)) + KL(q(y|z1) || prior).
/// The part of z1 in the first layer of q(z2|z1, y) is shared by the labels.
class LabelPass {
 public:
  LabelPass(const PackedLabels& labels, int64_t latent, int64_t max_rows);

  struct Block {
    int64_t rows = 0;
    const float* z1 = nullptr;            ///< (rows, latent)
    const ActiveRows* z1_rows = nullptr;  ///< the same
    std::span<const float* const> noise;  ///< per row: (labels, latent)
    float kl_weight = 1;
  };

  /// Adds the gradient of reconstruction + kl_weight * kl to z1_gradient, (rows,
  /// PaddedWidth(latent)), unless that is null.
  void Run(const Block& block, float* z1_gradient);

  float reconstruction(int64_t row) const { return reconstruction_[row]; }
  float kl(int64_t row) const { return kl_[row]; }
  /// q(y|z1), (labels), of the last Run.
  const float* probabilities(int64_t row) const {
    return probabilities_.data() + row * labels_.labels;
  }

 private:
  // One label of one cell.
  struct Pair {
    int64_t row;
    int32_t label;
  };

  void Classify(const Block& block);
  void RunPairs(const Block& block, std::span<const Pair> pairs, float* z1_gradient);
  void PairsBackward(const Block& block, std::span<const Pair> pairs);
  void ClassifyBackward(const Block& block, float* z1_gradient);
  void AddProduct(const PackedMatrix& w, const Block& block, const float* gradient,
                  float* z1_gradient);

  const PackedLabels& labels_;
  int64_t latent_;
  int64_t max_rows_;
  StackPass classifier_;
  StackPass encoder_;
  StackPass decoder_;
  ColumnTables no_columns_;
  ColumnTables encoder_columns_;
  ColumnTables decoder_columns_;
  AlignedBuffer<float> classes_;       // (rows, classes stride): logits, then their gradients
  std::vector<float> probabilities_;   // (rows, labels)
  std::vector<float> by_probability_;  // (rows, labels)
  AlignedBuffer<float> shared_;        // (rows, encoder stride): first layer without the label
  AlignedBuffer<float> shared_gradient_;
  AlignedBuffer<float> z2_heads_;
  AlignedBuffer<float> z2_heads_gradient_;
  AlignedBuffer<float> z2_var_;
  AlignedBuffer<float> z2_;
  AlignedBuffer<float> z2_gradient_;  // (rows, PaddedWidth(latent))
  ActiveRows z2_rows_;
  AlignedBuffer<float> z1_heads_;
  AlignedBuffer<float> z1_heads_gradient_;
  AlignedBuffer<float> product_;  // (rows, PaddedWidth(latent))
  AlignedBuffer<float> scratch_;
  std::vector<float> reconstruction_;
  std::vector<float> kl_;
};

}  // namespace portolan
