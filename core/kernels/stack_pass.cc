#include "core/kernels/stack_pass.h"

#include <algorithm>

#include "core/kernels/layers.h"

namespace portolan {

StackPass::StackPass(const PackedStack& stack, int64_t max_rows)
    : stack_(stack), max_rows_(max_rows) {
  for (const PackedLayer& layer : stack.layers) {
    const int64_t size = max_rows * PaddedWidth(layer.width);
    layers_.push_back({AlignedBuffer<float>(size), AlignedBuffer<float>(max_rows),
                       AlignedBuffer<float>(size), ActiveRows(max_rows, layer.width)});
  }
}

void StackPass::Forward(int64_t rows, const ColumnTables& columns, std::span<const int32_t> codes) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const PackedLayer& layer = stack_.layers[i];
    Layer& own = layers_[i];
    if (i > 0) Multiply(layer.weight, layers_[i - 1].active, rows, own.x.data());
    if (const float* table = columns[i]; table != nullptr) {
      for (int64_t r = 0; r < rows; ++r) {
        AddTo(own.x.data() + r * stride(i), table + codes[r] * layer.width, layer.width);
      }
    }
    if (layer.scale.size() > 0) {
      ScaleAndShift(layer.width, rows, layer.scale.data(), layer.shift.data(), own.x.data());
    }
    Activate({layer.width, stack_.layer_norm}, rows, own.x.data(), own.inverse_deviation.data(),
             own.active);
  }
}

void StackPass::Backward(int64_t rows, float* scratch) {
  for (size_t i = layers_.size(); i-- > 0;) {
    const PackedLayer& layer = stack_.layers[i];
    Layer& own = layers_[i];
    ActivateBackward({layer.width, stack_.layer_norm}, rows, own.x.data(),
                     own.inverse_deviation.data(), own.gradient.data());
    if (i == 0) return;
    MultiplyTransposed(layer.weight, layers_[i - 1].active, rows, own.gradient.data(),
                       layers_[i - 1].gradient.data(), stride(i - 1), scratch);
  }
}

int64_t StackPass::ScratchSize() const {
  int64_t size = 0;
  for (size_t i = 1; i < stack_.layers.size(); ++i) {
    size = std::max(size, MultiplyTransposedScratch(max_rows_, stack_.layers[i].weight));
  }
  return size;
}

}  // namespace portolan
