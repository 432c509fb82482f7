#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// -log p(x) of a cell's counts under NB, ZINB or Poisson, fused with the softmax before it and
/// with the gradient of both. Formulas of scvi-tools with epsilon 1e-8, without the terms that
/// depend on counts and dispersion alone (CountTermTable).
enum class CountLikelihood { kNb, kZinb, kPoisson };

/// Frozen dispersion of the genes, as the kernels want it.
class GeneDispersion {
 public:
  GeneDispersion() = default;
  /// theta: (genes), not negative.
  explicit GeneDispersion(std::span<const float> theta);

  const float* theta() const { return theta_.data(); }      ///< 1 in the padding
  const float* inverse() const { return inverse_.data(); }  ///< 1 / (theta + 1e-8)
  const float* share() const { return share_.data(); }      ///< theta / (theta + 1e-8)

 private:
  AlignedBuffer<float> theta_;
  AlignedBuffer<float> inverse_;
  AlignedBuffer<float> share_;
};

struct CellCounts {
  std::span<const int32_t> genes;  ///< of the non-zero counts
  std::span<const float> counts;
  float total = 0;
};

/// logits: the scale head's output, PaddedWidth(genes) floats with at most -1e30 in the padding;
/// for ZINB the dropout head's output follows, as many floats. Both become the gradient of the
/// result by them. Only the non-zero counts are looked at one by one. `scratch`:
/// ReconstructionScratch(genes) floats.
float ReconstructionAndGradient(CountLikelihood likelihood, const GeneDispersion& dispersion,
                                const CellCounts& cell, int64_t genes, float* logits,
                                float* scratch);
inline int64_t ReconstructionScratch(int64_t genes) { return 4 * PaddedWidth(genes); }

}  // namespace portolan
