#include "core/surgery/kernel_loss.h"

#include <algorithm>

#include "core/kernels/batch_tables.h"
#include "core/surgery/network_loss.h"
#include "core/surgery/totalvi_loss.h"

namespace portolan {

std::unique_ptr<KernelLoss> KernelLoss::Create(const PackedNetworks& networks,
                                               const CellInputs& cells,
                                               const std::map<std::string, HostTensor>& frozen,
                                               NoiseSource& noise, Precision precision) {
  if (networks.proteins.has_value()) {
    return std::make_unique<TotalviLoss>(networks, cells, frozen, noise);
  }
  return std::make_unique<NetworkLoss>(networks, cells, frozen, noise, precision);
}

KernelLoss::KernelLoss(const PackedNetworks& networks, int64_t block)
    : block_(block), proteins_(networks.proteins.has_value()) {
  for (const BatchTable& table : TrainedTables(networks)) gradient_width_ += table.width;
}

void KernelLoss::ShareWork(WorkSharing& sharing) {
  sharing_ = &sharing;
  TakeWorkers(sharing.workers());
}

void KernelLoss::Run(std::span<const int64_t> rows, std::span<const float* const> tables,
                     RandomUse use, float kl_weight, Gradients gradients, CellLosses& out) {
  out.reconstruction.resize(rows.size());
  out.proteins.resize(proteins_ ? rows.size() : 0);
  out.kl.resize(rows.size());
  out.loss.resize(rows.size());
  if (gradients != Gradients::kNone) {
    out.gradient.resize(rows.size() * gradient_width_);
    out.codes.resize(rows.size());
  }
  const Request request = {tables, use, kl_weight, gradients};
  const auto n = static_cast<int64_t>(rows.size());
  sharing_->ForEach((n + block_ - 1) / block_, [&](int64_t block, int64_t worker) {
    const int64_t at = block * block_;
    RunBlock(rows.subspan(at, std::min(block_, n - at)), request, at, worker, out);
  });
}

}  // namespace portolan
