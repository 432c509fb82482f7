#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/archive/host_tensor.h"
#include "core/model/model.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// Start values of every column that the new batches of `cells` add to `model`, by state-dict key,
/// (new batches, width).
///   Linear: U(-1/sqrt(n), 1/sqrt(n)), n = the Linear's inputs with one batch added to the
///     reference's, drawn from (seed, batch name, key): a batch starts alike whatever else is
///     mapped with it or was mapped before. (scvi-tools: n counts all batches of the run.)
///   px_r (gene-batch): mean over the reference's batches. It is never trained by default, and
///     upstream leaves it at random values.
///   library_log_means, library_log_vars: mean and variance of the log library size of the batch.
std::map<std::string, HostTensor> InitialColumns(const Model& model, const TrainingCells& cells,
                                                 uint64_t seed);

}  // namespace portolan
