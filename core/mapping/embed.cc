#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/mapping/mapping.h"
#include "core/mapping/result.h"

namespace portolan {
namespace {

constexpr size_t kShownBatches = 10;

absl::Status UnknownBatch(const std::string& batch, const Model& model) {
  std::vector<std::string> known = model.description().batches.categories;
  const size_t all = known.size();
  if (all > kShownBatches) known.resize(kShownBatches);
  return InvalidField(
      "batch", absl::StrCat("the version does not know batch '", batch, "'"),
      absl::StrCat("Map the batch first (that trains it), or name one of the version's ", all, ": ",
                   absl::StrJoin(known, ", "), all > kShownBatches ? ", ..." : ""));
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ModelBatchCodes(const Model& model,
                                                     const std::vector<std::string>& batch_names,
                                                     const std::vector<int32_t>& batch_codes) {
  std::vector<int32_t> of_name;
  for (const std::string& name : batch_names) {
    of_name.push_back(model.has_batch_key() ? model.BatchCode(name) : 0);
  }
  std::vector<int32_t> codes;
  codes.reserve(batch_codes.size());
  for (const int32_t code : batch_codes) {
    if (code < 0 || code >= static_cast<int32_t>(of_name.size())) {
      return InvalidField("batch", absl::StrCat("batch code ", code),
                          absl::StrCat("There are ", of_name.size(), " batches"));
    }
    if (of_name[code] < 0) return UnknownBatch(batch_names[code], model);
    codes.push_back(of_name[code]);
  }
  return codes;
}

void TakeEmbedding(Embedding embedding, const Model& model, MappingResult& result) {
  result.cells = embedding.cells;
  result.n_latent = embedding.n_latent;
  result.latent = std::move(embedding.mean);
  result.probabilities = std::move(embedding.probabilities);
  if (embedding.n_labels == 0) return;
  result.labels = model.description().labels.categories;
  result.label_codes.clear();
  for (int64_t cell = 0; cell < result.cells; ++cell) {
    const float* row = result.probabilities.data() + cell * embedding.n_labels;
    result.label_codes.push_back(
        static_cast<int32_t>(std::max_element(row, row + embedding.n_labels) - row));
  }
}

absl::StatusOr<MappingResult> EmbedCells(const AtlasVersion& version, const Query& query,
                                         const CancelToken& cancel) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int32_t> codes,
                            ModelBatchCodes(*version.model, query.batches, query.batch_codes));
  PORTOLAN_ASSIGN_OR_RETURN(
      Embedding embedding,
      Encode(*version.model, {query.counts, codes, query.annotations, query.proteins}, cancel));
  MappingResult result;
  TakeEmbedding(std::move(embedding), *version.model, result);
  return result;
}

}  // namespace portolan
