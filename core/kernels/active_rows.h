#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// Rows of a layer's input as lists of the entries that are not zero, in ascending order: after a
/// ReLU about half of them. Products skip the others, and their gradients are not computed.
class ActiveRows {
 public:
  ActiveRows() = default;
  ActiveRows(int64_t rows, int64_t width)
      : stride_(PaddedWidth(width) + kPanel),
        values_(rows * stride_),
        offsets_(rows * stride_),
        counts_(rows) {}

  /// A row in which every entry counts.
  void SetDense(int64_t row, std::span<const float> values) {
    for (size_t k = 0; k < values.size(); ++k) {
      this->values(row)[k] = values[k];
      offsets(row)[k] = static_cast<uint32_t>(k * kPanel);
    }
    counts_[row] = static_cast<int32_t>(values.size());
  }

  int32_t count(int64_t row) const { return counts_[row]; }
  int32_t& count(int64_t row) { return counts_[row]; }
  float* values(int64_t row) { return values_.data() + row * stride_; }
  const float* values(int64_t row) const { return values_.data() + row * stride_; }
  /// Index of the entry times 64: where its weights start in a panel.
  uint32_t* offsets(int64_t row) { return offsets_.data() + row * stride_; }
  const uint32_t* offsets(int64_t row) const { return offsets_.data() + row * stride_; }

 private:
  int64_t stride_ = 0;
  AlignedBuffer<float> values_;
  AlignedBuffer<uint32_t> offsets_;
  AlignedBuffer<int32_t> counts_;
};

}  // namespace portolan
