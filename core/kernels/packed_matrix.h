#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/aligned_buffer.h"

namespace portolan {

/// Rows of every dense buffer of the kernels start at multiples of this many floats, and weights
/// are stored in panels of this many outputs.
inline constexpr int64_t kPanel = 64;

inline int64_t PaddedWidth(int64_t width) { return (width + kPanel - 1) / kPanel * kPanel; }

/// weight and bias of one Linear, or of several that share their input: (outputs, inputs).
struct LinearView {
  std::span<const float> weight;  ///< row-major, outputs x inputs
  std::span<const float> bias;    ///< outputs
  float pad_bias = 0;             ///< what outputs beyond the last one get
};

/// The frozen weight of a Linear, laid out for both directions: panel p holds outputs
/// [64 p, 64 p + 64) as an (inputs, 64) row-major block, zeros beyond the last output. Immutable,
/// shared by threads.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Outputs of all parts side by side, without a gap.
  PackedMatrix(int64_t inputs, std::span<const LinearView> parts);
  /// The same, every part starting at a new panel (PaddedWidth of what stands before it).
  static PackedMatrix PanelAligned(int64_t inputs, std::span<const LinearView> parts);

  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return panels_; }
  /// Floats of an output row.
  int64_t stride() const { return panels_ * kPanel; }
  const float* panel(int64_t p) const { return weight_.data() + p * inputs_ * kPanel; }
  const float* bias() const { return bias_.data(); }

 private:
  PackedMatrix(int64_t inputs, std::span<const LinearView> parts, bool aligned);

  int64_t inputs_ = 0;
  int64_t panels_ = 0;
  AlignedBuffer<float> weight_;
  AlignedBuffer<float> bias_;
};

}  // namespace portolan
