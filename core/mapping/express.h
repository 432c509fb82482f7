#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/mapping/mapping.h"
#include "core/model/expression.h"

namespace portolan {

/// Denoised expression of rows [first_row, first_row + rows) of a query under a version that knows
/// all its batches. Random numbers belong to (seed, batch name, cell), so the blocks in which the
/// rows are asked for change no bit. Errors: those of Express; InvalidField("batch") for a batch
/// that the version does not know.
absl::StatusOr<ExpressionBlock> ExpressRows(const AtlasVersion& version, const Query& query,
                                            int64_t first_row, int64_t rows,
                                            const ExpressionOptions& options, uint64_t seed,
                                            const CancelToken& cancel);

}  // namespace portolan
