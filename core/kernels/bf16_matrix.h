#pragma once

#include <algorithm>
#include <cstdint>

#include "core/kernels/active_rows.h"
#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// A frozen weight rounded to bfloat16 (8 bits of significand) for the product of gradients with
/// it: half the bytes, two multiply-adds an instruction. Gradients are rounded likewise, sums are
/// float32. (The product of inputs gains nothing: skipping what a ReLU zeroed is worth as much.)
/// For processors with AVX512-BF16 only. Every row is computed alone, as in layers.h. Immutable.
class Bf16Matrix {
 public:
  /// Whether this processor has the instructions.
  static bool Supported();

  /// REQUIRES: Supported().
  explicit Bf16Matrix(const PackedMatrix& w);

  /// What a thread needs for MultiplyTransposed of at most `max_rows` rows.
  struct Scratch {
    Scratch() = default;
    Scratch(const Bf16Matrix& w, int64_t max_rows);
    AlignedBuffer<uint32_t> gradient;  // rounded
    AlignedBuffer<float> sums;         // (rows, inputs, 16)
  };

  /// As MultiplyTransposed of layers.h.
  void MultiplyTransposed(const ActiveRows& in, int64_t rows, const float* gradient, float* out,
                          int64_t out_stride, Scratch& scratch) const;

 private:
  int64_t stride() const { return panels_ * kPanel; }
  // Panels whose part of a gradient stays in registers.
  static constexpr int64_t kGroup = 8;

  int64_t groups() const { return (panels_ + kGroup - 1) / kGroup; }
  int64_t PanelsOf(int64_t group) const { return std::min(kGroup, panels_ - group * kGroup); }

  int64_t inputs_;
  int64_t panels_;
  // Per group of panels and input: the weights of its outputs, two in a word.
  AlignedBuffer<uint32_t> weights_;
};

}  // namespace portolan
