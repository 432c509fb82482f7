#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/mapping/mapping.h"

namespace portolan {

/// Per-cell codes of the model for cells whose batches are given by name; InvalidField("batch") for
/// a batch that the model does not know.
absl::StatusOr<std::vector<int32_t>> ModelBatchCodes(const Model& model,
                                                     const std::vector<std::string>& batch_names,
                                                     const std::vector<int32_t>& batch_codes);

/// Moves latents and labels into a result.
void TakeEmbedding(Embedding embedding, const Model& model, MappingResult& result);

}  // namespace portolan
