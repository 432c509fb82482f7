#include "core/surgery/column_loss.h"

#include <cmath>
#include <vector>

#include "core/kernels/batch_tables.h"
#include "core/surgery/totalvi_loss.h"

namespace portolan {
namespace {

// SCVI's and SCANVI's.
class NetworkLoss final : public ColumnLoss {
 public:
  NetworkLoss(const PackedNetworks& networks, const CellInputs& cells,
              const std::vector<std::vector<float>>& theta, NoiseSource& noise)
      : networks_(networks), loss_(networks, cells.counts, cells.batch_codes, theta, noise) {}

  void Run(std::span<const int64_t> rows, std::span<const float* const> tables, RandomUse use,
           float kl_weight, bool gradients, CellLosses& out) override {
    NetworkColumns columns;
    const auto take = [&](const PackedStack& stack, ColumnTables& own) {
      for (const PackedLayer& layer : stack.layers) {
        own.push_back(layer.batch_columns_key.empty() ? nullptr : tables.front());
        if (!layer.batch_columns_key.empty()) tables = tables.subspan(1);
      }
    };
    take(networks_.encoder.stack, columns.encoder);
    take(networks_.decoder, columns.decoder);
    loss_.Run(rows, columns, use, kl_weight, gradients, out);
    out.loss.resize(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      out.loss[i] = out.reconstruction[i] + kl_weight * out.kl[i];
    }
  }

 private:
  const PackedNetworks& networks_;
  KernelLoss loss_;
};

}  // namespace

std::span<const float> TableRow(const HostTensor& table, int64_t batch) {
  const auto width = static_cast<size_t>(table.shape()[1]);
  return table.floats().subspan(static_cast<size_t>(batch) * width, width);
}

std::vector<float> Exponentials(std::span<const float> logs) {
  std::vector<float> values(logs.begin(), logs.end());
  for (float& value : values) value = std::exp(value);
  return values;
}

std::unique_ptr<ColumnLoss> ColumnLoss::Create(const PackedNetworks& networks,
                                               const CellInputs& cells,
                                               const std::map<std::string, HostTensor>& frozen,
                                               NoiseSource& noise) {
  std::vector<std::vector<float>> theta;
  if (!networks.theta.empty()) {
    theta.push_back(networks.theta);
  } else {
    const HostTensor& logs = frozen.at(kGeneDispersionKey);
    for (int64_t batch = 0; batch < logs.shape()[0]; ++batch) {
      theta.push_back(Exponentials(TableRow(logs, batch)));
    }
  }
  if (networks.proteins.has_value()) {
    return std::make_unique<TotalviLoss>(networks, cells, theta, frozen, noise);
  }
  return std::make_unique<NetworkLoss>(networks, cells, theta, noise);
}

}  // namespace portolan
