#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/mapping/mapping.h"

namespace portolan {

struct BatchElbo {
  int64_t cells = 0;
  double mean = 0;  ///< per cell, KL weight 1, higher is better
};

/// A query under a model that knows all its batches.
struct ScoredQuery {
  Embedding embedding;                    ///< rows in query order, without variances
  std::map<std::string, BatchElbo> elbo;  ///< by batch
};

/// Latents, label probabilities and ELBO of all cells, in blocks over the environment's executor.
/// Blocks follow the canonical order of cells, so the bits depend on neither order nor executor.
absl::StatusOr<ScoredQuery> ScoreQuery(const Model& model, const Query& query, uint64_t seed,
                                       const MappingEnvironment& environment);

}  // namespace portolan
