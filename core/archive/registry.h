#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/py_text.h"
#include "core/archive/py_value.h"

namespace portolan {

/// What the attribute registry_ of a saved model says about the data it was set up with.
struct Registry {
  std::string scvi_version;
  std::string model_name;  ///< empty: not recorded
  std::string layer;       ///< empty: X
  CategoryRegistry batches;
  CategoryRegistry labels;  ///< all categories, the unlabelled one included
  std::string unlabeled_category;
  std::vector<std::string> categorical_covariates;
  std::vector<std::vector<std::string>> covariate_categories;
  std::vector<CategoryKind> covariate_kinds;
  std::vector<std::string> continuous_covariates;
  std::string size_factor_key;  ///< obs column; empty: none
  bool has_size_factor = false;
  std::string gene_modality;         ///< MuData: the modality that X came from
  std::vector<std::string> x_names;  ///< column names of X; empty before 0.17
  int64_t n_vars = -1;               ///< -1: not recorded
  int64_t n_cells = -1;
  std::vector<std::string> proteins;
  std::string proteins_key;       ///< obsm key, or the modality of a MuData
  std::string protein_names_key;  ///< uns key; empty: none
  bool proteins_from_frame = false;
  /// By code of the batch or panel; empty where nothing is recorded.
  std::vector<std::vector<bool>> protein_masks;
  CategoryRegistry panels;  ///< no categories: no panel key
  bool minified = false;    ///< saved with a data set that holds latents in place of counts
};

/// Reads registry_. Fields that a model was set up without may be absent or empty.
absl::StatusOr<Registry> ReadRegistry(const PyValue& registry, TextBudget& budget);

/// Reads scvi_setup_dict_, which models saved before 0.15 have in its place. `model_class` is that
/// of the tensors: the dict describes the data set, whose proteins and labels the model may never
/// have looked at.
absl::StatusOr<Registry> ReadLegacyRegistry(const PyValue& setup, ModelClass model_class,
                                            TextBudget& budget);

/// Only the recorded class, without looking at the rest; empty if not recorded.
std::string RegisteredModelName(const PyValue& registry);

}  // namespace portolan
