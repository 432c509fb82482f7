#include "core/kernels/batch_tables.h"

namespace portolan {
namespace {

void Append(const PackedStack& stack, std::vector<BatchTable>& tables) {
  for (const PackedLayer& layer : stack.layers) {
    if (!layer.batch_columns_key.empty()) tables.push_back({layer.batch_columns_key, layer.width});
  }
}

void Append(const std::vector<PackedHead>& heads, std::vector<BatchTable>& tables) {
  for (const PackedHead& head : heads) {
    if (!head.batch_columns_key.empty()) tables.push_back({head.batch_columns_key, head.width});
  }
}

}  // namespace

std::vector<BatchTable> TrainedTables(const PackedNetworks& networks) {
  std::vector<BatchTable> tables;
  Append(networks.encoder.stack, tables);
  if (!networks.proteins.has_value()) {
    Append(networks.decoder, tables);
    return tables;
  }
  const PackedProteins& p = *networks.proteins;
  Append(p.genes.body, tables);
  tables.push_back({kPriorMeanKey, p.proteins});
  tables.push_back({kPriorLogDeviationKey, p.proteins});
  for (const PackedBranch* branch : {&p.back, &p.fore, &p.mix}) Append(branch->body, tables);
  for (const PackedBranch* branch : {&p.genes, &p.back, &p.fore, &p.mix}) {
    Append(branch->parts, tables);
  }
  return tables;
}

std::vector<BatchTable> FrozenTables(const PackedNetworks& networks) {
  std::vector<BatchTable> tables;
  if (networks.theta.empty()) tables.push_back({kGeneDispersionKey, networks.genes});
  if (!networks.proteins.has_value()) return tables;
  const PackedProteins& p = *networks.proteins;
  if (p.theta.empty()) tables.push_back({kProteinDispersionKey, p.proteins});
  if (p.cell_mean) tables.push_back({kLogEfficiencyKey, p.proteins});
  tables.push_back({kProteinMaskKey, p.proteins});
  return tables;
}

}  // namespace portolan
