#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/kernels/bf16_matrix.h"
#include "core/kernels/network_pass.h"
#include "core/surgery/kept_genes.h"
#include "core/surgery/kernel_loss.h"

namespace portolan {

/// SCVI's and SCANVI's loss.
class NetworkLoss final : public KernelLoss {
 public:
  /// As KernelLoss::Create.
  NetworkLoss(const PackedNetworks& networks, const CellInputs& cells,
              const std::map<std::string, HostTensor>& frozen, NoiseSource& noise,
              Precision precision);

 private:
  // What a thread needs for a block.
  struct Lane {
    Lane(const PackedNetworks& networks, const Bf16Matrix* gradient_heads)
        : pass(networks, gradient_heads) {}
    NetworkPass pass;
    ColumnTables encoder;
    ColumnTables decoder;
    std::vector<float> latent_noise;
    std::vector<float> label_noise;
  };

  void TakeWorkers(int64_t workers) override { lanes_.resize(workers); }
  void RunBlock(std::span<const int64_t> rows, const Request& request, int64_t at, int64_t worker,
                CellLosses& out) override;
  void TakeTables(std::span<const float* const> tables, Lane& lane) const;
  void CopyGradient(const NetworkPass& pass, int64_t row, float* out) const;

  const PackedNetworks& networks_;
  const std::vector<int32_t>& codes_;
  NoiseSource& noise_;
  KeptGenes genes_;
  std::optional<Bf16Matrix> gradient_heads_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by worker; taken when first needed
};

}  // namespace portolan
