#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/archive/host_tensor.h"
#include "core/model/model.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// Where the columns of a Linear start.
enum class ColumnStart { kRandom, kReferenceMean };

/// Start values of every column that the new batches of `cells` add to `model`, by state-dict key,
/// (new batches, width).
///   Linear: U(-1/sqrt(n), 1/sqrt(n)), n = the Linear's inputs with one batch added to the
///     reference's, drawn from (seed, batch name, key): a batch starts alike whatever else is
///     mapped with it or was mapped before. (scvi-tools: n counts all batches of the run.)
///     With kReferenceMean: the mean over the reference's batches.
///   The vector of an embedded batch: N(0, 1).
///   px_r (gene-batch), py_r (protein-batch): mean over the reference's batches. It is never
///   trained by default, and
///     upstream leaves it at random values.
///   background_pro_alpha, background_pro_log_beta: of a measured protein the batch's empirical
///   prior
///     (protein_prior.h), or mean 3 and log deviation 0 for models that do without (since 1.3.1);
///     of any other protein the mean over the reference's batches.
///   log_per_batch_efficiency: 0. protein_batch_mask: 1 for measured proteins.
///   library_log_means, library_log_vars: mean and variance of the log library size of the batch.
std::map<std::string, HostTensor> InitialColumns(const Model& model, const TrainingCells& cells,
                                                 uint64_t seed,
                                                 ColumnStart start = ColumnStart::kRandom);

}  // namespace portolan
