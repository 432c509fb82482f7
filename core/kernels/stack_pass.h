#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/active_rows.h"
#include "core/kernels/packed_networks.h"

namespace portolan {

/// A block of rows on its way through an FC stack and back. Buffers are taken once; one thread.
class StackPass {
 public:
  StackPass(const PackedStack& stack, int64_t max_rows);

  /// (rows, stride(0)): W x + bias of the first layer, without columns; to be filled in before
  /// Forward, zeros in the padding.
  float* first() { return layers_[0].x.data(); }
  int64_t stride(size_t layer) const { return PaddedWidth(stack_.layers[layer].width); }

  /// `codes`: per row, into the tables of columns.
  void Forward(int64_t rows, const ColumnTables& columns, std::span<const int32_t> codes);
  const ActiveRows& output() const { return layers_.back().active; }

  /// (rows, stride of the last layer): gradient by the output, zero where it is not active; to be
  /// filled in before Backward.
  float* output_gradient() { return layers_.back().gradient.data(); }
  int64_t output_stride() const { return stride(layers_.size() - 1); }
  void Backward(int64_t rows, float* scratch);
  /// (rows, stride(layer)) after Backward: by the layer's Linear, hence by its columns.
  const float* gradient(size_t layer) const { return layers_[layer].gradient.data(); }

  /// Floats of scratch for Backward.
  int64_t ScratchSize() const;

 private:
  struct Layer {
    AlignedBuffer<float> x;
    AlignedBuffer<float> inverse_deviation;
    AlignedBuffer<float> gradient;
    ActiveRows active;
  };

  const PackedStack& stack_;
  int64_t max_rows_;
  std::vector<Layer> layers_;
};

}  // namespace portolan
