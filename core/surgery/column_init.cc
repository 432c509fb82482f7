#include "core/surgery/column_init.h"

#include <cmath>
#include <vector>

#include "core/model/host_copy.h"
#include "core/model/networks.h"
#include "core/surgery/protein_prior.h"

namespace portolan {
namespace {

std::vector<float> UniformColumn(uint64_t seed, const std::string& batch, const std::string& key,
                                 int64_t width, int64_t inputs) {
  std::vector<float> column(width);
  FillUniform(RandomKey(seed, batch), RandomUse::kColumnInit, 0, StableHash64(key), column);
  const float bound = 1.0f / std::sqrt(static_cast<float>(inputs));
  for (float& value : column) value = (2 * value - 1) * bound;
  return column;
}

struct LibraryPrior {
  float mean = 0;
  float variance = 1;
};

// Mean and population variance of the log total counts; an empty cell counts as log 1.
LibraryPrior LogLibraryPrior(const TrainingCells& cells, int32_t batch) {
  double n = 0;
  double sum = 0;
  double squares = 0;
  for (int64_t row = 0; row < cells.cells(); ++row) {
    if (cells.batch_codes[row] != batch) continue;
    double total = 0;
    for (const float count : cells.counts.row_values(row)) total += count;
    const double log_total = total > 0 ? std::log(total) : 0;
    n += 1;
    sum += log_total;
    squares += log_total * log_total;
  }
  if (n == 0) return {};
  const double mean = sum / n;
  return {static_cast<float>(mean), static_cast<float>(std::max(0.0, squares / n - mean * mean))};
}

std::vector<float> ReferenceMean(const TensorRef& ref, const ModelNetworks& networks) {
  const HostTensor mean = ToHost(ref.tensor->slice(0, 0, networks.n_reference_batches).mean(0));
  return {mean.floats().begin(), mean.floats().end()};
}

std::vector<uint8_t> Measured(const ModelNetworks& networks, const TrainingCells& cells,
                              int32_t batch) {
  const ProteinArchitecture& proteins = *networks.architecture.proteins;
  if (proteins.override_missing) return std::vector<uint8_t>(proteins.n_proteins, 1);
  return MeasuredProteins(cells, batch, proteins.n_proteins);
}

std::vector<float> BackgroundStart(const TensorRef& ref, const ModelNetworks& networks,
                                   const TrainingCells& cells, int32_t batch, uint64_t seed) {
  const bool is_mean = ref.key == "background_pro_alpha";
  std::vector<float> values = ReferenceMean(ref, networks);
  const std::vector<uint8_t> measured = Measured(networks, cells, batch);
  const ProteinArchitecture& proteins = *networks.architecture.proteins;
  std::optional<float> start;
  if (proteins.empirical_prior) {
    if (const auto prior = EmpiricalBackground(cells, batch, measured, seed)) {
      start = is_mean ? prior->mean : prior->log_std;
    }
  } else if (proteins.variant == TotalviVariant::kCellMean) {
    start = is_mean ? 3.0f : 0.0f;
  }
  for (size_t i = 0; i < values.size() && start.has_value(); ++i) {
    if (measured[i] != 0) values[i] = *start;
  }
  return values;
}

std::vector<float> StartValues(const TensorRef& ref, const ModelNetworks& networks,
                               const TrainingCells& cells, int32_t batch, uint64_t seed,
                               ColumnStart start) {
  if (ref.key == "library_log_means") return {LogLibraryPrior(cells, batch).mean};
  if (ref.key == "library_log_vars") return {LogLibraryPrior(cells, batch).variance};
  if (ref.key == "px_r" || ref.key == "py_r") return ReferenceMean(ref, networks);
  if (ref.key == "background_pro_alpha" || ref.key == "background_pro_log_beta") {
    return BackgroundStart(ref, networks, cells, batch, seed);
  }
  if (ref.key == "log_per_batch_efficiency") return std::vector<float>(ref.tensor->size(1));
  if (ref.key == kProteinMaskKey) {
    const std::vector<uint8_t> measured = Measured(networks, cells, batch);
    return {measured.begin(), measured.end()};
  }
  if (ref.key == kBatchEmbeddingKey) {
    std::vector<float> row(ref.tensor->size(1));
    FillNormal(RandomKey(seed, cells.batches[batch]), RandomUse::kColumnInit, 0,
               StableHash64(ref.key), row);
    return row;
  }
  if (start == ColumnStart::kReferenceMean) return ReferenceMean(ref, networks);
  return UniformColumn(seed, cells.batches[batch], ref.key, ref.tensor->size(1),
                       ref.fan_in + networks.n_reference_batches + 1);
}

}  // namespace

std::map<std::string, HostTensor> InitialColumns(const Model& model, const TrainingCells& cells,
                                                 uint64_t seed, ColumnStart start) {
  ModelNetworks networks = model.networks();
  std::map<std::string, HostTensor> columns;
  const auto batches = static_cast<int32_t>(cells.batches.size());
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.role != TensorRole::kBatchColumns) continue;
    std::vector<float> values;
    for (int32_t batch = 0; batch < batches; ++batch) {
      const std::vector<float> column = StartValues(ref, networks, cells, batch, seed, start);
      values.insert(values.end(), column.begin(), column.end());
    }
    columns[ref.key] = HostTensor::FromFloats({batches, ref.tensor->size(1)}, values);
  }
  return columns;
}

}  // namespace portolan
