#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/matrix/cell_inputs.h"
#include "core/model/noise.h"

namespace portolan {

/// The cells of one training run. Rows stand in a canonical order (by batch, then by cell name), so
/// that nothing depends on the order in which a query arrived. Immutable during training.
struct TrainingCells {
  CsrMatrix counts;                  ///< cells x reference genes
  std::vector<std::string> batches;  ///< the new batches, in code order
  std::vector<int32_t> batch_codes;  ///< per cell, into `batches`
  std::vector<uint64_t> cell_ids;    ///< per cell: StableHash64 of its name
  CellAnnotations annotations;
  ProteinCounts proteins;  ///< `measured` by `batches`

  int64_t cells() const { return counts.rows(); }
  CellInputs inputs() const { return {counts, batch_codes, annotations, proteins}; }
};

/// Noise that belongs to (seed, batch name, epoch, cell).
class CellNoise : public NoiseSource {
 public:
  CellNoise(uint64_t seed, const TrainingCells& cells);

  void set_epoch(int epoch) { epoch_ = static_cast<uint32_t>(epoch); }

  void Normal(RandomUse use, std::span<const int64_t> rows, int64_t width, float* out) override;
  void Uniform(const std::string& stream, std::span<const int64_t> rows, int64_t width,
               float* out) override;

 private:
  const TrainingCells& cells_;
  std::vector<uint64_t> batch_keys_;
  uint32_t epoch_ = 0;
};

/// Train and validation rows of a run.
struct Split {
  std::vector<int64_t> train;
  std::vector<int64_t> validation;
};

/// ceil(share * cells) rows train, the rest validates, chosen by (seed, batch, cell). A last
/// minibatch of one or two cells, too few for a batch norm, moves to validation, as in scvi-tools
/// since 1.2.1; with a share of 1 it is left out.
Split SplitCells(const TrainingCells& cells, uint64_t seed, double train_share, int minibatch);

/// `rows` in the order in which epoch `epoch` visits them.
std::vector<int64_t> ShuffleRows(const TrainingCells& cells, const std::vector<int64_t>& rows,
                                 uint64_t seed, int epoch);

/// The same for the labelled rows of a semi-supervised run, by draws of their own.
std::vector<int64_t> ShuffleLabelled(const TrainingCells& cells, const std::vector<int64_t>& rows,
                                     uint64_t seed, int epoch);

}  // namespace portolan
