#include "core/mapping/express.h"

#include <numeric>

#include "core/base/status_macros.h"
#include "core/mapping/plan.h"
#include "core/mapping/result.h"
#include "core/surgery/training_cells.h"

namespace portolan {

absl::StatusOr<ExpressionBlock> ExpressRows(const AtlasVersion& version, const Query& query,
                                            int64_t first_row, int64_t rows,
                                            const ExpressionOptions& options, uint64_t seed,
                                            const CancelToken& cancel) {
  std::vector<int64_t> block(rows);
  std::iota(block.begin(), block.end(), first_row);
  const TrainingCells cells = CellsOf(query, block, query.batches);
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int32_t> codes,
                            ModelBatchCodes(*version.model, cells.batches, cells.batch_codes));
  CellNoise noise(seed, cells);
  return Express(*version.model, {cells.counts, codes, cells.annotations, cells.proteins}, options,
                 noise, cancel);
}

}  // namespace portolan
