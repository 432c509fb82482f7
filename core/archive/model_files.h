#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace portolan {

/// Where the parts of a saved model lie. Since 0.15 a model is one file, model.pt; before, it was
/// three. All may have a common prefix (save(prefix=...)), and the data set may lie beside them.
struct ModelFiles {
  std::string model;       ///< model.pt, or model_params.pt of the three-file format
  std::string attributes;  ///< attr.pkl; empty for a single file
  std::string var_names;   ///< var_names.csv; empty for a single file
  std::string data;        ///< adata.h5ad or mdata.h5mu; empty if there is none

  bool three_files() const { return !attributes.empty(); }
};

/// Looks in `directory` and, if it holds no model, in the folders directly below it. A file without
/// a prefix goes before those with one; model.pt before the older format. kNotFound if there is no
/// model, InvalidField("model.pt", ...) naming the candidates if there are several or if one of the
/// three files is missing.
absl::StatusOr<ModelFiles> FindModelFiles(const std::string& directory);

}  // namespace portolan
