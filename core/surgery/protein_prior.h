#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/surgery/training_cells.h"

namespace portolan {

/// Which of the model's `proteins` proteins a batch of a run has measured: those of its panel that
/// some of its cells has a count of. scvi-tools, too, takes a protein without a count in the whole
/// batch for missing. None if no proteins came.
std::vector<uint8_t> MeasuredProteins(const TrainingCells& cells, int32_t batch, int64_t proteins);

/// A normal distribution of the log background, one for all proteins of a batch.
struct BackgroundPrior {
  float mean = 0;
  float log_std = 0;
};

/// scvi-tools' empirical prior: 100 of the batch's cells, drawn with replacement from (seed, batch
/// name); in each a mixture of two normals over log1p of its measured counts, of which the lower
/// one counts (mean 0, deviation 0.05 where a cell has fewer than two different counts); the mean
/// of the means, and sqrt(sum of variances) / 100. std::nullopt below five measured proteins.
std::optional<BackgroundPrior> EmpiricalBackground(const TrainingCells& cells, int32_t batch,
                                                   const std::vector<uint8_t>& measured,
                                                   uint64_t seed);

/// The lower component of a mixture of two normals fitted to `values` by expectation maximisation
/// (start: the split with the least squares; until the mean log likelihood gains less than 1e-3,
/// at most 100 rounds; 1e-6 added to variances). {0, 0.0025} without two different values.
struct Component {
  double mean = 0;
  double variance = 0;
};
Component LowerComponent(std::vector<double> values);

}  // namespace portolan
