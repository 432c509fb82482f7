#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/mapping/mapping.h"
#include "core/surgery/options.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// One training run of a mapping.
struct PlannedRun {
  std::string name;                  ///< the batch, or "all batches"
  std::vector<std::string> batches;  ///< sorted
  std::vector<int64_t> rows;         ///< of the query, by batch and cell name
  TrainOptions options;
};

/// What a mapping will do, decided before anything is trained.
struct MappingPlan {
  Strategy strategy = Strategy::kIndependent;  ///< after fallbacks
  std::vector<PlannedRun> runs;                ///< sorted by name
  std::vector<std::string> known_batches;      ///< embedded without training
  std::vector<std::string> notes;              ///< what a user should know, one sentence each
};

/// Pure. Batches that `model` knows are not trained: the reference never moves. Where the surgery
/// would change more than batch columns, batches cannot be trained apart and put together, so
/// `independent` becomes `chain`, and a note says why.
absl::StatusOr<MappingPlan> PlanMapping(const Model& model, const Query& query,
                                        const MappingOptions& options);

/// All rows of a query by batch name, then cell name: an order that does not depend on how the
/// query came.
std::vector<int64_t> CanonicalRows(const Query& query);

/// The cells of some rows, in that order; codes index `batches`.
TrainingCells CellsOf(const Query& query, const std::vector<int64_t>& rows,
                      const std::vector<std::string>& batches);

}  // namespace portolan
