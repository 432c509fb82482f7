#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/branch_pass.h"
#include "core/kernels/likelihood.h"
#include "core/kernels/packed_networks.h"
#include "core/kernels/proteins.h"
#include "core/kernels/stack_pass.h"

namespace portolan {

/// What a pass needs of a cell with proteins; pointers outlive the pass.
struct TotalviCell {
  const float* first = nullptr;  ///< first encoder layer without columns, its width
  CellCounts counts;
  float count_terms = 0;  ///< of the genes
  const GeneDispersion* dispersion = nullptr;
  const float* proteins = nullptr;  ///< (proteins) counts
  float protein_terms = 0;          ///< their count terms, of the measured ones
  const FrozenProteins* frozen = nullptr;
  int32_t code = 0;                         ///< into the tables of batch columns
  const float* noise = nullptr;             ///< (latent)
  const float* background_noise = nullptr;  ///< (proteins)
};

/// TOTALVI's loss of a block of cells and its gradient by the batch columns, as NetworkPass does
/// it. Observed library. A cell's numbers depend on the cell alone, bit for bit. Buffers are taken
/// once; one thread.
class TotalviPass {
 public:
  /// Cells of a block.
  static constexpr int64_t kRows = 32;

  /// REQUIRES: networks.proteins.
  explicit TotalviPass(const PackedNetworks& networks);

  /// At most kRows cells. `tables`: TrainedTables' values, in their order. The gradient is that of
  /// a cell's loss(); without `gradients` only the terms are computed.
  void Run(std::span<const TotalviCell> cells, std::span<const float* const> tables,
           float kl_weight, bool gradients);

  float genes(int64_t row) const { return genes_[row]; }        ///< reconstruction
  float proteins(int64_t row) const { return proteins_[row]; }  ///< reconstruction
  float kl(int64_t row) const { return kl_[row]; }              ///< z's and the background's
  /// genes + kl_weight (proteins + kl); before scvi-tools 1.3.1 genes + proteins + kl_weight kl.
  float loss(int64_t row) const { return loss_[row]; }
  /// Adds to `out` the gradient of one cell's loss by its columns of every table, one after the
  /// other. Returns where `out` ends.
  float* AddGradient(int64_t row, float* out) const;

 private:
  enum Branch : size_t { kGenes, kBack, kFore, kMix, kBranches };

  void TakeColumns(std::span<const float* const> tables);
  void Encode(std::span<const TotalviCell> cells);
  void GeneTerms(const TotalviCell& cell, int64_t row);
  void ProteinTermsOf(const TotalviCell& cell, int64_t row, const ProteinWeights& weights);
  void EncodeBackward(std::span<const TotalviCell> cells, float kl_weight);

  const PackedNetworks& networks_;
  const PackedProteins& own_;
  const std::array<const PackedBranch*, kBranches> packed_;
  StackPass encoder_;
  std::array<BranchPass, kBranches> branches_;
  // The tables of this Run, where they belong.
  ColumnTables encoder_columns_;
  struct BranchColumns {
    ColumnTables body;
    ColumnTables heads;  // one for each of the parts
  };
  std::array<BranchColumns, kBranches> columns_;
  const float* prior_mean_ = nullptr;
  const float* prior_log_deviation_ = nullptr;

  std::vector<int32_t> codes_;
  AlignedBuffer<float> heads_;           // (rows, encoder's heads stride)
  AlignedBuffer<float> heads_gradient_;  // the same
  AlignedBuffer<float> var_;             // (rows, latent)
  AlignedBuffer<float> z_;               // (rows, latent)
  ActiveRows z_rows_;
  AlignedBuffer<float> z_gradient_;              // (rows, PaddedWidth(latent))
  AlignedBuffer<float> by_prior_mean_;           // (rows, proteins)
  AlignedBuffer<float> by_prior_log_deviation_;  // (rows, proteins)
  AlignedBuffer<float> gene_row_;                // ZINB: scale and dropout side by side
  AlignedBuffer<float> gene_scratch_;
  AlignedBuffer<float> scratch_;
  std::vector<float> genes_;
  std::vector<float> proteins_;
  std::vector<float> kl_;
  std::vector<float> loss_;
};

}  // namespace portolan
