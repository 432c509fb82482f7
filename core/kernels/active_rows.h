#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// Rows of a layer's input as lists of the entries that are not zero, in ascending order: after a
/// ReLU about half of them. Products skip the others, and their gradients are not computed.
class ActiveRows {
 public:
  /// Products visit this many inputs at a time, or a multiple.
  static constexpr int64_t kMark = 32;

  ActiveRows() = default;
  ActiveRows(int64_t rows, int64_t width)
      : stride_(PaddedWidth(width) + kPanel),
        marks_stride_((width + kMark - 1) / kMark + 1),
        values_(rows * stride_),
        offsets_(rows * stride_),
        marks_(rows * marks_stride_) {}

  /// A row in which every entry counts.
  void SetDense(int64_t row, std::span<const float> values) {
    for (size_t k = 0; k < values.size(); ++k) {
      this->values(row)[k] = values[k];
      offsets(row)[k] = static_cast<uint32_t>(k * kPanel);
    }
    Close(row, static_cast<int32_t>(values.size()));
  }

  /// Says that `count` entries of a row are filled in.
  void Close(int64_t row, int32_t count) {
    int32_t* marks = this->marks(row);
    int32_t at = 0;
    for (int64_t m = 0; m < marks_stride_; ++m) {
      while (at < count && offsets(row)[at] < m * kMark * kPanel) ++at;
      marks[m] = at;
    }
  }

  int32_t count(int64_t row) const { return below(row, marks_stride_ * kMark); }
  /// Entries among the first `inputs` inputs, a multiple of kMark.
  int32_t below(int64_t row, int64_t inputs) const {
    return marks_[row * marks_stride_ + std::min(inputs / kMark, marks_stride_ - 1)];
  }
  float* values(int64_t row) { return values_.data() + row * stride_; }
  const float* values(int64_t row) const { return values_.data() + row * stride_; }
  /// Index of the entry times 64: where its weights start in a panel.
  uint32_t* offsets(int64_t row) { return offsets_.data() + row * stride_; }
  const uint32_t* offsets(int64_t row) const { return offsets_.data() + row * stride_; }
  /// below() of 0, kMark, 2 kMark, ... inputs, up to all of them.
  int32_t* marks(int64_t row) { return marks_.data() + row * marks_stride_; }

 private:
  int64_t stride_ = 0;
  int64_t marks_stride_ = 0;
  AlignedBuffer<float> values_;
  AlignedBuffer<uint32_t> offsets_;
  AlignedBuffer<int32_t> marks_;
};

}  // namespace portolan
