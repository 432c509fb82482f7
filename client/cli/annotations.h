#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"
#include "core/matrix/cell_inputs.h"
#include "portolan/v1/atlas.pb.h"

namespace portolan::client {

/// Which obs columns hold what the model reads of a cell; what is not named is looked for under the
/// names that the reference was set up with.
struct AnnotationArguments {
  std::map<std::string, std::string> covariates;  ///< the reference's name -> the query's column
  std::string size_factor_key;
  std::string labels_key;
};

/// What is about to be read of the cells: an embedding needs no more than the encoder sees.
enum class AnnotationUse { kMap, kEmbed };

/// "NAME=COLUMN", as --covariate takes it; InvalidField("covariate") for anything else, and for a
/// name given twice.
absl::StatusOr<std::map<std::string, std::string>> ParseCovariates(
    const std::vector<std::string>& pairs);

/// Reads what `model` was set up with: covariates, size factors, labels of a dispersion; and a
/// SCANVI query's own labels where a column is named. Codes are those of the model.
/// Errors: InvalidField("covariate", "size_factor_key" or "labels_key") naming a missing column and
/// those that exist, a cell without a value, a category that the reference does not know and those
/// that it knows, or a value that is no number.
absl::StatusOr<CellAnnotations> ReadAnnotations(const AnnotationArguments& arguments,
                                                const v1::Model& model, AnnotationUse use,
                                                QueryReader& reader);

}  // namespace portolan::client
