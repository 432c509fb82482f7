#include <cmath>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/mapping/mapping.h"
#include "core/matrix/count_check.h"

namespace portolan {
namespace {

absl::Status CheckShapes(const Query& query, int64_t reference_genes) {
  const int64_t cells = query.counts.rows();
  if (cells == 0) return InvalidField("X", "no cells", "Send at least two cells");
  if (query.counts.cols != reference_genes) {
    return InvalidField("X", absl::StrCat(query.counts.cols, " genes"),
                        absl::StrCat("Align to the version's ", reference_genes, " genes first"));
  }
  if (static_cast<int64_t>(query.cell_names.size()) != cells ||
      static_cast<int64_t>(query.batch_codes.size()) != cells) {
    return InvalidField("obs",
                        absl::StrCat(cells, " rows of counts, ", query.cell_names.size(),
                                     " cell names, ", query.batch_codes.size(), " batch codes"),
                        "Send one of each per cell");
  }
  return absl::OkStatus();
}

absl::Status CheckRows(const Query& query) {
  const CountCheck check("X");
  for (int64_t row = 0; row < query.counts.rows(); ++row) {
    const auto genes = query.counts.row_columns(row);
    for (size_t i = 0; i < genes.size(); ++i) {
      if (genes[i] < 0 || genes[i] >= query.counts.cols || (i > 0 && genes[i] <= genes[i - 1])) {
        return InvalidField("X", absl::StrCat("gene index ", genes[i], " in row ", row),
                            "Send ascending indices below the number of genes");
      }
    }
    PORTOLAN_RETURN_IF_ERROR(check.Check(row, query.counts.row_values(row)));
    const int32_t code = query.batch_codes[row];
    if (code < 0 || code >= static_cast<int32_t>(query.batches.size())) {
      return InvalidField("batch_key", absl::StrCat("batch code ", code, " in row ", row),
                          absl::StrCat("There are ", query.batches.size(), " batches"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateQuery(const Query& query, int64_t reference_genes) {
  PORTOLAN_RETURN_IF_ERROR(CheckShapes(query, reference_genes));
  std::unordered_set<std::string> names;
  for (const std::string& name : query.cell_names) {
    if (!names.insert(name).second) {
      return InvalidField("obs_names", absl::StrCat("cell '", name, "' occurs more than once"),
                          "Make the names unique, for example with adata.obs_names_make_unique()");
    }
  }
  std::unordered_set<std::string> batches;
  for (const std::string& batch : query.batches) {
    if (batch.empty()) {
      return InvalidField("batch_key", "an empty batch name", "Give every batch a name");
    }
    if (!batches.insert(batch).second) {
      return InvalidField("batch_key", absl::StrCat("batch '", batch, "' is listed twice"),
                          "List every batch once");
    }
  }
  return CheckRows(query);
}

}  // namespace portolan
