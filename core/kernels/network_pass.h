#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/kernels/bf16_matrix.h"
#include "core/kernels/label_pass.h"
#include "core/kernels/likelihood.h"
#include "core/kernels/packed_networks.h"
#include "core/kernels/stack_pass.h"

namespace portolan {

/// What a pass needs of a cell; pointers outlive the pass.
struct PassCell {
  const float* first = nullptr;  ///< first encoder layer without columns, its width
  CellCounts counts;
  float count_terms = 0;
  const GeneDispersion* dispersion = nullptr;
  int32_t code = 0;                    ///< into the tables of batch columns
  const float* noise = nullptr;        ///< (latent)
  const float* label_noise = nullptr;  ///< (labels, latent); SCANVI
};

/// The loss of a block of cells, and its gradient by the batch columns: encoder, sampling, decoder,
/// likelihood, SCANVI's sums over labels, and back. Observed library. A cell's numbers depend on
/// the cell alone, bit for bit. Buffers are taken once; one thread.
class NetworkPass {
 public:
  /// Cells of a block.
  static constexpr int64_t kRows = 32;

  /// `gradient_heads`: networks.gene_heads rounded, for gradients; outlives this.
  explicit NetworkPass(const PackedNetworks& networks, const Bf16Matrix* gradient_heads = nullptr);

  /// At most kRows cells. Loss of a cell: reconstruction + kl_weight * kl; its gradients are kept
  /// apart from those of other cells. Without `gradients` only the loss is computed. A stack whose
  /// tables are all null gets no gradient.
  void Run(std::span<const PassCell> cells, const ColumnTables& encoder_columns,
           const ColumnTables& decoder_columns, float kl_weight, bool gradients);

  float reconstruction(int64_t row) const { return reconstruction_[row]; }
  float kl(int64_t row) const { return kl_[row]; }
  /// The gradient of one cell's loss by the columns of a layer, `width` floats.
  const float* encoder_gradient(size_t layer, int64_t row) const {
    return encoder_.gradient(layer) + row * encoder_.stride(layer);
  }
  const float* decoder_gradient(size_t layer, int64_t row) const {
    return decoder_.gradient(layer) + row * decoder_.stride(layer);
  }

 private:
  void Encode(std::span<const PassCell> cells, const ColumnTables& columns);
  void Decode(std::span<const PassCell> cells, const ColumnTables& columns);
  void DecodeBackward(int64_t rows, bool to_latent);
  void EncodeBackward(std::span<const PassCell> cells, float kl_weight);

  const PackedNetworks& networks_;
  const Bf16Matrix* gradient_heads_;
  Bf16Matrix::Scratch gradient_scratch_;
  StackPass encoder_;
  StackPass decoder_;
  std::optional<LabelPass> labels_;
  std::vector<int32_t> codes_;
  AlignedBuffer<float> heads_;           // (rows, heads stride)
  AlignedBuffer<float> heads_gradient_;  // the same
  AlignedBuffer<float> var_;             // (rows, latent)
  AlignedBuffer<float> z_;               // (rows, latent)
  ActiveRows z_rows_;
  AlignedBuffer<float> z_gradient_;  // (rows, PaddedWidth(latent))
  AlignedBuffer<float> genes_;       // (rows, gene heads stride)
  AlignedBuffer<float> gene_scratch_;
  AlignedBuffer<float> scratch_;
  std::vector<float> reconstruction_;
  std::vector<float> kl_;
};

}  // namespace portolan
