#include "core/archive/describe_model.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/archive/architecture.h"
#include "core/archive/archive_error.h"
#include "core/archive/init_params.h"
#include "core/archive/registry.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr std::string_view kTwoModels =
    "Save the model again; its tensors and its registry are not of one model";

/// var_names: one array, or (MuData) one per modality, or (MuData before 1.2) all of them in one.
absl::StatusOr<std::vector<std::string>> ReadGenes(const ModelParts& parts,
                                                   const Registry& registry, int64_t n_genes,
                                                   TextBudget& budget) {
  PyValue names = parts.var_names;
  if (names.is(PyKind::kDict)) names = names.Get(registry.gene_modality);
  std::vector<std::string> genes = parts.listed_names;
  if (genes.empty()) {
    PORTOLAN_ASSIGN_OR_RETURN(genes, TextList(names, "var_names", budget));
  }
  const auto wanted = static_cast<size_t>(n_genes);
  const bool all_modalities = genes.size() > wanted && !registry.gene_modality.empty();
  if (all_modalities && registry.x_names.size() == wanted) genes = registry.x_names;
  if (genes.size() != wanted) {
    return ArchiveError(absl::StrCat("var_names has ", genes.size(),
                                     " genes, but the decoder's tensors have ", n_genes),
                        kTwoModels);
  }
  if (registry.n_vars >= 0 && registry.n_vars != n_genes) {
    return ArchiveError(absl::StrCat("the registry has ", registry.n_vars,
                                     " genes, but the decoder's tensors have ", n_genes),
                        kTwoModels);
  }
  return genes;
}

/// SCANVI keeps the unlabelled category last; the model's labels are those before it.
absl::Status SplitLabels(const PyValue& attributes, Registry& registry, TextBudget& budget,
                         ModelDescription& description) {
  std::string unlabeled = registry.unlabeled_category;
  const PyValue attribute = attributes.Get("unlabeled_category_");
  if (unlabeled.empty() && !attribute.is_none()) {
    PORTOLAN_ASSIGN_OR_RETURN(unlabeled, TextOf(attribute, "unlabeled_category_", budget));
  }
  std::vector<std::string>& categories = registry.labels.categories;
  if (categories.size() < 2 || categories.back() != unlabeled) {
    return ArchiveError(
        absl::StrCat("the unlabelled category is ", Absl(Quoted(unlabeled)),
                     ", but the last of the ", categories.size(), " labels is ",
                     Absl(Quoted(categories.empty() ? "" : categories.back()))),
        "Set the model up again with SCANVI.setup_anndata, which puts that category last");
  }
  description.unlabeled_category = std::move(unlabeled);
  description.labels = registry.labels;
  description.labels.categories.pop_back();
  return absl::OkStatus();
}

absl::StatusOr<ModelClass> DecideClass(const PyValue& attributes, const StateDict& tensors,
                                       std::optional<ModelClass> expected) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::optional<ModelClass> registered,
                            RegisteredClass(attributes));
  ModelClass found;
  if (registered.has_value()) {
    found = *registered;
  } else {
    PORTOLAN_ASSIGN_OR_RETURN(found, InferModelClass(tensors));
  }
  if (expected.has_value() && *expected != found) {
    return InvalidField("model",
                        absl::StrCat("a model of class ", Absl(ModelClassName(found)), " where ",
                                     Absl(ModelClassName(*expected)), " is expected"),
                        "Name the directory of the other model");
  }
  return found;
}

/// Names that come as they stand in the pickle. They go into messages, JSON and files of others.
absl::Status CheckNames(const ModelDescription& d) {
  constexpr size_t kLongestName = 10'000;
  for (const std::string* name :
       {&d.scvi_version, &d.layer, &d.batches.original_key, &d.labels.original_key,
        &d.panels.original_key, &d.size_factor_key, &d.proteins_key, &d.protein_names_key,
        &d.gene_modality}) {
    if (name->size() <= kLongestName && IsUtf8(*name)) continue;
    return ArchiveError(absl::StrCat("the registry holds the broken name ", Absl(Quoted(*name))),
                        "Set the model up again with plain column names");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<ModelClass>> RegisteredClass(const PyValue& attributes) {
  const std::string name = RegisteredModelName(attributes.Get("registry_"));
  if (name.empty()) return std::optional<ModelClass>();
  for (const ModelClass known : {ModelClass::kScvi, ModelClass::kScanvi, ModelClass::kTotalvi}) {
    if (name == ModelClassName(known)) return std::optional<ModelClass>(known);
  }
  return FieldError(absl::StatusCode::kUnimplemented, "model.pt",
                    absl::StrCat("a model of class ", Absl(Quoted(name))),
                    "Save a model of class SCVI, SCANVI or TOTALVI");
}

absl::StatusOr<ModelDescription> DescribeModel(const ModelParts& parts, const StateDict& tensors,
                                               std::optional<ModelClass> expected,
                                               TextBudget& budget) {
  ModelDescription description;
  const PyValue attributes = parts.attributes;
  PORTOLAN_ASSIGN_OR_RETURN(description.model_class, DecideClass(attributes, tensors, expected));
  const bool legacy = !attributes.Has("registry_") && attributes.Has("scvi_setup_dict_");
  PORTOLAN_ASSIGN_OR_RETURN(Registry registry,
                            legacy ? ReadLegacyRegistry(attributes.Get("scvi_setup_dict_"),
                                                        description.model_class, budget)
                                   : ReadRegistry(attributes.Get("registry_"), budget));
  PORTOLAN_ASSIGN_OR_RETURN(const InitParams params,
                            InitParams::Flatten(attributes.Get("init_params_")));
  PORTOLAN_ASSIGN_OR_RETURN(const StateShapes shapes,
                            InferShapes(description.model_class, tensors));
  description.scvi_version = registry.scvi_version;
  PORTOLAN_ASSIGN_OR_RETURN(description.genes, ReadGenes(parts, registry, shapes.n_genes, budget));
  description.labels = registry.labels;
  if (description.model_class == ModelClass::kScanvi) {
    PORTOLAN_RETURN_IF_ERROR(SplitLabels(attributes, registry, budget, description));
  }
  if (description.model_class == ModelClass::kTotalvi) {
    description.proteins = registry.proteins;
    description.proteins_key = registry.proteins_key;
    description.protein_names_key = registry.protein_names_key;
    description.proteins_from_frame = registry.proteins_from_frame;
    description.protein_masks = registry.protein_masks;
    description.panels = registry.panels;
  }
  PORTOLAN_ASSIGN_OR_RETURN(description.architecture,
                            ReadArchitecture(description.model_class, registry, params, shapes));
  description.batches = std::move(registry.batches);
  description.layer = std::move(registry.layer);
  description.categorical_covariates = std::move(registry.categorical_covariates);
  description.covariate_categories = std::move(registry.covariate_categories);
  description.covariate_kinds = std::move(registry.covariate_kinds);
  description.gene_modality = std::move(registry.gene_modality);
  description.minified = registry.minified;
  description.training_cells = registry.n_cells;
  description.continuous_covariates = std::move(registry.continuous_covariates);
  description.size_factor_key = std::move(registry.size_factor_key);
  PORTOLAN_RETURN_IF_ERROR(CheckNames(description));
  PORTOLAN_RETURN_IF_ERROR(CheckState(description, shapes, tensors));
  return description;
}

}  // namespace portolan
