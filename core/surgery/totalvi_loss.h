#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/kernels/count_terms.h"
#include "core/kernels/totalvi_pass.h"
#include "core/surgery/column_loss.h"

namespace portolan {

/// TOTALVI's loss. What is frozen is computed once per cell and kept: the first encoder layer, and
/// the terms of the likelihoods that depend on counts and dispersions alone.
class TotalviLoss final : public ColumnLoss {
 public:
  /// `theta`: one dispersion of the genes for all cells, or one for every batch code. The rest as
  /// ColumnLoss::Create.
  TotalviLoss(const PackedNetworks& networks, const CellInputs& cells,
              const std::vector<std::vector<float>>& theta,
              const std::map<std::string, HostTensor>& frozen, NoiseSource& noise);

  void Run(std::span<const int64_t> rows, std::span<const float* const> tables, RandomUse use,
           float kl_weight, bool gradients, CellLosses& out) override;

 private:
  // What a thread needs for a block.
  struct Lane {
    explicit Lane(const PackedNetworks& networks) : pass(networks) {}
    TotalviPass pass;
    std::vector<float> latent_noise;
    std::vector<float> background_noise;
  };
  struct Request {
    std::span<const float* const> tables;
    RandomUse use;
    float kl_weight;
    bool gradients;
  };

  void KeepGenes(const std::vector<std::vector<float>>& theta);
  void KeepProteins(const std::map<std::string, HostTensor>& frozen);
  const float* ProteinsOf(int64_t row) const;
  void RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at, Lane& lane,
                CellLosses& out);

  const PackedNetworks& networks_;
  CellInputs cells_;
  NoiseSource& noise_;
  std::vector<GeneDispersion> dispersions_;  // one, or by batch code
  std::vector<FrozenProteins> frozen_;       // by batch code
  std::vector<float> first_;                 // (cells, first width)
  std::vector<float> count_terms_;
  std::vector<float> protein_terms_;
  std::vector<float> totals_;
  std::vector<float> no_proteins_;  // zeros, where none came
  int64_t gradient_width_ = 0;
  std::unique_ptr<Lane> lane_;
};

}  // namespace portolan
