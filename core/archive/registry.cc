#include "core/archive/registry.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr size_t kMostCovariates = 1000;  // each is looked up among all

std::string TextUnder(const PyValue& dict, std::string_view key) {
  return std::string(dict.Get(key).Str().value_or(""));
}

/// Categories under the obs column `original_key`. `internal_key` is the column that scvi-tools
/// makes up when the user named none: one category, 0.
absl::StatusOr<CategoryRegistry> ReadMapping(const PyValue& mapping, std::string original_key,
                                             std::string_view what, std::string_view internal_key,
                                             TextBudget& budget) {
  CategoryRegistry registry;
  PORTOLAN_ASSIGN_OR_RETURN(registry.categories, TextList(mapping, what, budget));
  if (registry.categories.empty()) {
    return ArchiveError(absl::StrCat(Absl(what), " has no category"),
                        "Set the model up again with at least one category");
  }
  registry.kind = CategoryKindOf(mapping);
  registry.original_key = std::move(original_key);
  const bool made_up =
      registry.original_key == internal_key && registry.categories == std::vector<std::string>{"0"};
  if (made_up) registry.original_key.clear();
  return registry;
}

/// The categories of a model that was set up without a column of this kind.
CategoryRegistry MadeUp() {
  CategoryRegistry registry;
  registry.categories = {"0"};
  registry.kind = CategoryKind::kInteger;
  return registry;
}

absl::StatusOr<CategoryRegistry> ReadCategories(const PyValue& field, std::string_view what,
                                                std::string_view internal_key, TextBudget& budget) {
  const PyValue state = field.Get("state_registry");
  if (!state.Has("categorical_mapping")) return MadeUp();
  return ReadMapping(state.Get("categorical_mapping"), TextUnder(state, "original_key"), what,
                     internal_key, budget);
}

/// The categorical covariates `keys` with their `mappings`.
absl::Status ReadCategorical(const PyValue& keys, const PyValue& mappings, Registry& registry,
                             TextBudget& budget) {
  PORTOLAN_ASSIGN_OR_RETURN(registry.categorical_covariates,
                            TextList(keys, "the keys of the categorical covariates", budget));
  const size_t most = std::max(registry.categorical_covariates.size(), mappings.size());
  if (most > kMostCovariates) {
    return ArchiveError(absl::StrCat("the registry has ", most, " categorical covariates"),
                        "Train the reference with fewer covariates");
  }
  for (const std::string& key : registry.categorical_covariates) {
    const std::string what = absl::StrCat("the covariate ", Absl(Quoted(key)));
    const PyValue mapping = mappings.Get(key);
    PORTOLAN_ASSIGN_OR_RETURN(std::vector<std::string> categories, TextList(mapping, what, budget));
    registry.covariate_categories.push_back(std::move(categories));
    registry.covariate_kinds.push_back(CategoryKindOf(mapping));
  }
  return absl::OkStatus();
}

absl::Status ReadCovariates(const PyValue& fields, Registry& registry, TextBudget& budget) {
  const PyValue categorical = fields.Get("extra_categorical_covs").Get("state_registry");
  if (categorical.size() != 0) {
    PORTOLAN_RETURN_IF_ERROR(ReadCategorical(categorical.Get("field_keys"),
                                             categorical.Get("mappings"), registry, budget));
  }
  const PyValue continuous = fields.Get("extra_continuous_covs").Get("state_registry");
  if (continuous.size() != 0) {
    PORTOLAN_ASSIGN_OR_RETURN(
        registry.continuous_covariates,
        TextList(continuous.Get("columns"), "extra_continuous_covs.columns", budget));
  }
  return absl::OkStatus();
}

absl::Status ReadCounts(const PyValue& field, Registry& registry, TextBudget& budget) {
  const PyValue data = field.Get("data_registry");
  if (TextUnder(data, "attr_name") == "layers") registry.layer = TextUnder(data, "attr_key");
  registry.gene_modality = TextUnder(data, "mod_key");
  const PyValue state = field.Get("state_registry");
  registry.n_vars = IntOf(state.Get("n_vars")).value_or(-1);
  registry.n_cells = IntOf(field.Get("summary_stats").Get("n_cells")).value_or(-1);
  if (!state.Get("column_names").is_none()) {
    PORTOLAN_ASSIGN_OR_RETURN(registry.x_names,
                              TextList(state.Get("column_names"), "X.column_names", budget));
  }
  return absl::OkStatus();
}

/// One batch's or panel's entry of protein_batch_mask: its code, and which proteins it has.
absl::Status ReadMask(const PyValue& key, const PyValue& value, size_t codes, Registry& registry,
                      TextBudget& budget) {
  // Codes are text from 0.18 on, numbers before.
  PORTOLAN_ASSIGN_OR_RETURN(const std::string text,
                            TextOf(key, "a protein_batch_mask key", budget));
  size_t code = 0;
  if (!absl::SimpleAtoi(text, &code) || code >= codes) {
    return ArchiveError(absl::StrCat("protein_batch_mask has the key ", Absl(Quoted(text)),
                                     ", but the codes are 0 to ", codes - 1),
                        "Set the model up again with scvi-tools");
  }
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> flags,
                            TextList(value, "protein_batch_mask", budget));
  if (flags.size() != registry.proteins.size()) {
    return ArchiveError(absl::StrCat("protein_batch_mask has ", flags.size(), " entries for ",
                                     registry.proteins.size(), " proteins"),
                        "Set the model up again with scvi-tools");
  }
  std::vector<bool>& mask = registry.protein_masks[code];
  mask.clear();
  for (const std::string& flag : flags) {
    if (flag != "True" && flag != "False") {
      return ArchiveError(
          absl::StrCat("protein_batch_mask holds ", Absl(Quoted(flag)), ", not True or False"),
          "Set the model up again with scvi-tools");
    }
    mask.push_back(flag == "True");
  }
  return absl::OkStatus();
}

/// protein_batch_mask; absent or None where no batch lacks a protein.
absl::Status ReadMasks(const PyValue& masks, Registry& registry, TextBudget& budget) {
  if (!masks.is(PyKind::kDict) || masks.size() == 0) return absl::OkStatus();
  const size_t codes = registry.panels.categories.empty() ? registry.batches.categories.size()
                                                          : registry.panels.categories.size();
  registry.protein_masks.resize(codes);
  for (size_t i = 0; i < masks.size(); ++i) {
    PORTOLAN_RETURN_IF_ERROR(ReadMask(masks.Key(i), masks.Value(i), codes, registry, budget));
  }
  return absl::OkStatus();
}

absl::Status ReadProteins(const PyValue& fields, Registry& registry, TextBudget& budget) {
  const PyValue panel = fields.Get("panel");
  if (panel.Get("state_registry").Has("categorical_mapping")) {
    PORTOLAN_ASSIGN_OR_RETURN(registry.panels,
                              ReadCategories(panel, "the panel registry", "_scvi_panel", budget));
  }
  const PyValue state = fields.Get("proteins").Get("state_registry");
  if (state.Get("column_names").is_none()) return absl::OkStatus();
  PORTOLAN_ASSIGN_OR_RETURN(registry.proteins,
                            TextList(state.Get("column_names"), "proteins.column_names", budget));
  registry.proteins_from_frame = state.Get("column_names").is(PyKind::kList);
  const PyValue data = fields.Get("proteins").Get("data_registry");
  registry.proteins_key = TextUnder(data, "mod_key");
  if (registry.proteins_key.empty()) registry.proteins_key = TextUnder(data, "attr_key");
  return ReadMasks(state.Get("protein_batch_mask"), registry, budget);
}

/// The older format writes "None" where there is none.
std::string LegacyText(const PyValue& dict, std::string_view key) {
  const std::string text = TextUnder(dict, key);
  return text == "None" ? "" : text;
}

absl::Status ReadLegacyProteins(const PyValue& setup, Registry& registry, TextBudget& budget) {
  const PyValue names = setup.Get("protein_names");
  if (names.is_none()) return absl::OkStatus();
  PORTOLAN_ASSIGN_OR_RETURN(registry.proteins, TextList(names, "protein_names", budget));
  registry.proteins_key =
      LegacyText(setup.Get("data_registry").Get("protein_expression"), "attr_key");
  return ReadMasks(setup.Get("totalvi_batch_mask"), registry, budget);
}

}  // namespace

std::string RegisteredModelName(const PyValue& registry) {
  return TextUnder(registry, "model_name");
}

absl::StatusOr<Registry> ReadRegistry(const PyValue& value, TextBudget& budget) {
  const PyValue fields = value.Get("field_registries");
  if (!fields.is(PyKind::kDict)) {
    return ArchiveError("no registry_ with field_registries",
                        "Save the model again with scvi-tools 0.15 or newer");
  }
  Registry registry;
  registry.scvi_version = TextUnder(value, "scvi_version");
  registry.model_name = RegisteredModelName(value);
  PORTOLAN_RETURN_IF_ERROR(ReadCounts(fields.Get("X"), registry, budget));
  PORTOLAN_ASSIGN_OR_RETURN(
      registry.batches,
      ReadCategories(fields.Get("batch"), "the batch registry", "_scvi_batch", budget));
  const PyValue labels = fields.Get("labels");
  PORTOLAN_ASSIGN_OR_RETURN(registry.labels,
                            ReadCategories(labels, "the labels registry", "_scvi_labels", budget));
  const PyValue unlabeled = labels.Get("state_registry").Get("unlabeled_category");
  if (!unlabeled.is_none()) {
    PORTOLAN_ASSIGN_OR_RETURN(registry.unlabeled_category,
                              TextOf(unlabeled, "unlabeled_category", budget));
  }
  PORTOLAN_RETURN_IF_ERROR(ReadCovariates(fields, registry, budget));
  registry.minified = fields.Get("minify_type").Get("data_registry").size() != 0;
  const PyValue size_factor = fields.Get("size_factor").Get("data_registry");
  registry.has_size_factor = size_factor.size() != 0;
  registry.size_factor_key = TextUnder(size_factor, "attr_key");
  PORTOLAN_RETURN_IF_ERROR(ReadProteins(fields, registry, budget));
  registry.protein_names_key = TextUnder(value.Get("setup_args"), "protein_names_uns_key");
  return registry;
}

absl::StatusOr<Registry> ReadLegacyRegistry(const PyValue& setup, ModelClass model_class,
                                            TextBudget& budget) {
  const PyValue mappings = setup.Get("categorical_mappings");
  if (!mappings.is(PyKind::kDict)) {
    return ArchiveError("no scvi_setup_dict_ with categorical_mappings",
                        "Save the model again with scvi-tools");
  }
  Registry registry;
  registry.scvi_version = TextUnder(setup, "scvi_version");
  const PyValue data = setup.Get("data_registry");
  if (TextUnder(data.Get("X"), "attr_name") == "layers") {
    registry.layer = LegacyText(data.Get("X"), "attr_key");
  }
  registry.n_vars = IntOf(setup.Get("summary_stats").Get("n_vars")).value_or(-1);
  registry.n_cells = IntOf(setup.Get("summary_stats").Get("n_cells")).value_or(-1);
  registry.batches = registry.labels = MadeUp();
  const auto read = [&](const char* key, const char* what, CategoryRegistry& into) -> absl::Status {
    const PyValue field = mappings.Get(key);
    if (field.is_none()) return absl::OkStatus();
    PORTOLAN_ASSIGN_OR_RETURN(
        into,
        ReadMapping(field.Get("mapping"), TextUnder(field, "original_key"), what, key, budget));
    return absl::OkStatus();
  };
  PORTOLAN_RETURN_IF_ERROR(read("_scvi_batch", "the batch registry", registry.batches));
  if (model_class == ModelClass::kTotalvi) {
    PORTOLAN_RETURN_IF_ERROR(ReadLegacyProteins(setup, registry, budget));
  } else {
    PORTOLAN_RETURN_IF_ERROR(read("_scvi_labels", "the labels registry", registry.labels));
  }
  const PyValue categorical = setup.Get("extra_categoricals");
  if (!categorical.Get("keys").is_none()) {
    PORTOLAN_RETURN_IF_ERROR(
        ReadCategorical(categorical.Get("keys"), categorical.Get("mappings"), registry, budget));
  }
  const PyValue continuous = setup.Get("extra_continuous_keys");
  if (!continuous.is_none()) {
    PORTOLAN_ASSIGN_OR_RETURN(registry.continuous_covariates,
                              TextList(continuous, "extra_continuous_keys", budget));
  }
  return registry;
}

}  // namespace portolan
