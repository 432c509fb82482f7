#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/kernels/proteins.h"
#include "core/kernels/totalvi_pass.h"
#include "core/surgery/kept_genes.h"
#include "core/surgery/kernel_loss.h"

namespace portolan {

/// TOTALVI's loss.
class TotalviLoss final : public KernelLoss {
 public:
  /// As KernelLoss::Create.
  TotalviLoss(const PackedNetworks& networks, const CellInputs& cells,
              const std::map<std::string, HostTensor>& frozen, NoiseSource& noise);

 private:
  // What a thread needs for a block.
  struct Lane {
    explicit Lane(const PackedNetworks& networks) : pass(networks) {}
    TotalviPass pass;
    std::vector<float> latent_noise;
    std::vector<float> background_noise;
  };

  void TakeWorkers(int64_t workers) override { lanes_.resize(workers); }
  void RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at, int64_t worker,
                CellLosses& out) override;
  void KeepProteins(const std::map<std::string, HostTensor>& frozen);
  const float* ProteinsOf(int64_t row) const;
  void TakeGradients(std::span<const int64_t> rows, const TotalviPass& pass, int64_t at,
                     bool summed, CellLosses& out) const;

  const PackedNetworks& networks_;
  CellInputs cells_;
  NoiseSource& noise_;
  KeptGenes genes_;
  std::vector<float> no_proteins_;            // zeros, where none came
  std::vector<FrozenProteins> frozen_;        // by batch code
  std::vector<float> protein_terms_;          // per cell: of counts and dispersion alone
  std::vector<std::unique_ptr<Lane>> lanes_;  // by worker; taken when first needed
};

}  // namespace portolan
