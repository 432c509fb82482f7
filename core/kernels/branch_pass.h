#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/packed_networks.h"
#include "core/kernels/stack_pass.h"

namespace portolan {

/// A block of rows on its way through a branch of TOTALVI's decoder and back. Buffers are taken
/// once; one thread.
class BranchPass {
 public:
  BranchPass(const PackedBranch& branch, int64_t latent, int64_t max_rows);

  /// `z`: (rows, latent), dense. `columns`: the body's; `codes`: per row, into them.
  void Forward(const ActiveRows& z, int64_t rows, const ColumnTables& columns,
               std::span<const int32_t> codes);
  /// Adds the heads' own columns to a row, which stays in the cache for what reads it next.
  void AddHeadColumns(int64_t row, const ColumnTables& columns, int32_t code);
  /// What a head says of a row; to be replaced by the gradient by it, hence by the head's columns,
  /// before Backward. The padding up to the next panel is the head's too: zeros by then.
  float* head(size_t part, int64_t row) {
    return heads_.data() + row * branch_.heads.stride() + branch_.parts[part].at;
  }
  const float* head(size_t part, int64_t row) const {
    return heads_.data() + row * branch_.heads.stride() + branch_.parts[part].at;
  }

  /// Adds the gradient by z, (rows, PaddedWidth(latent)), unless null.
  void Backward(const ActiveRows& z, int64_t rows, float* scratch, float* z_gradient);
  /// (rows, body_stride(layer)) after Backward: by the columns of a layer of the body.
  const float* body_gradient(size_t layer, int64_t row) const {
    return body_.gradient(layer) + row * body_.stride(layer);
  }

  /// Floats of scratch for Backward.
  int64_t ScratchSize() const;

 private:
  void Join(const ActiveRows& z, int64_t rows);

  const PackedBranch& branch_;
  int64_t latent_;
  int64_t max_rows_;
  int64_t width_;  // of the body's output
  StackPass body_;
  ActiveRows joined_;                     // [body | z]
  AlignedBuffer<float> joined_gradient_;  // (rows, PaddedWidth(width + latent))
  AlignedBuffer<float> heads_;
  AlignedBuffer<float> z_product_;  // (rows, PaddedWidth(latent))
};

}  // namespace portolan
