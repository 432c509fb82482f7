#include "core/archive/model_writer.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/pickle_writer.h"
#include "core/archive/zip_writer.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

namespace p = pickled;

constexpr char kNewest[] = "1.4.2";
constexpr char kPrefix[] = "model";

using Fields = std::vector<std::pair<std::string, std::string>>;

/// A dict with text keys.
std::string Dict(const Fields& fields) {
  p::Pairs pairs;
  for (const auto& [key, value] : fields) pairs.emplace_back(p::Text(key), value);
  return p::Dict(pairs);
}

std::string TextOrNone(std::string_view text) { return text.empty() ? p::None() : p::Text(text); }

p::Items Texts(const std::vector<std::string>& values) {
  p::Items items;
  for (const std::string& value : values) items.push_back(p::Text(value));
  return items;
}

std::string TextArray(const std::vector<std::string>& values) {
  return p::ObjectArray(Texts(values));
}

std::string TextsOrNone(const std::vector<std::string>& values) {
  return values.empty() ? p::None() : p::List(Texts(values));
}

/// The value that Python would spell `text`, if it is of this kind.
std::optional<std::string> Parse(const std::string& text, CategoryKind kind) {
  if (kind == CategoryKind::kBool && (text == "True" || text == "False")) {
    return p::Bool(text == "True");
  }
  int64_t integer = 0;
  if (kind == CategoryKind::kInteger && absl::SimpleAtoi(text, &integer)) return p::Int(integer);
  double real = 0;
  if (kind == CategoryKind::kReal && absl::SimpleAtod(text, &real)) return p::Float(real);
  return std::nullopt;
}

/// Categories as the values that the column of a data set holds. Batches of a query come as text;
/// in a column of numbers, those that are numbers become such.
std::string Mapping(const std::vector<std::string>& categories, CategoryKind kind) {
  p::Items items;
  bool all = kind != CategoryKind::kText;
  for (const std::string& category : categories) {
    const auto value = Parse(category, kind);
    all = all && value.has_value();
    items.push_back(value.value_or(p::Text(category)));
  }
  if (!all) return p::ObjectArray(items);
  std::vector<int64_t> integers;
  std::vector<double> reals;
  std::vector<bool> flags;
  for (const std::string& category : categories) {
    int64_t integer = 0;
    double real = 0;
    if (absl::SimpleAtoi(category, &integer)) integers.push_back(integer);
    if (absl::SimpleAtod(category, &real)) reals.push_back(real);
    flags.push_back(category == "True");
  }
  if (kind == CategoryKind::kInteger) return p::IntArray(integers);
  return kind == CategoryKind::kReal ? p::FloatArray(reals) : p::BoolArray(flags);
}

std::string Place(std::string_view name, std::string_view key) {
  return Dict({{"attr_name", p::Text(name)}, {"attr_key", TextOrNone(key)}});
}

std::string Field(const std::string& data, const std::string& state, const Fields& summary) {
  return Dict(
      {{"data_registry", data}, {"state_registry", state}, {"summary_stats", Dict(summary)}});
}

std::string Count(size_t count) { return p::Int(static_cast<int64_t>(count)); }

/// A categorical obs column; `internal` is the one that scvi-tools makes of it.
std::string CategoryField(const CategoryRegistry& registry, const std::string& internal,
                          const std::string& count_name, const std::string& unlabeled = "") {
  Fields state = {
      {"categorical_mapping", Mapping(registry.categories, registry.kind)},
      {"original_key", p::Text(registry.original_key.empty() ? internal : registry.original_key)}};
  if (!unlabeled.empty()) state.emplace_back("unlabeled_category", p::Text(unlabeled));
  return Field(Place("obs", internal), Dict(state),
               {{count_name, Count(registry.categories.size())}});
}

std::string CountsField(const ModelDescription& d) {
  const std::string cells = p::Int(std::max<int64_t>(d.training_cells, 0));
  const std::string genes = Count(d.genes.size());
  return Field(d.layer.empty() ? Place("X", "") : Place("layers", d.layer),
               Dict({{"n_obs", cells}, {"n_vars", genes}, {"column_names", TextArray(d.genes)}}),
               {{"n_vars", genes}, {"n_cells", cells}});
}

std::string CategoricalField(const ModelDescription& d) {
  Fields mappings;
  p::Items counts;
  for (size_t i = 0; i < d.categorical_covariates.size(); ++i) {
    mappings.emplace_back(d.categorical_covariates[i],
                          Mapping(d.covariate_categories[i], d.covariate_kinds[i]));
    counts.push_back(Count(d.covariate_categories[i].size()));
  }
  const Fields summary = {{"n_extra_categorical_covs", Count(mappings.size())}};
  if (mappings.empty()) return Field(Dict({}), Dict({}), summary);
  return Field(Place("obsm", "_scvi_extra_categorical_covs"),
               Dict({{"mappings", Dict(mappings)},
                     {"field_keys", p::List(Texts(d.categorical_covariates))},
                     {"n_cats_per_key", p::List(counts)}}),
               summary);
}

std::string ContinuousField(const ModelDescription& d) {
  const Fields summary = {{"n_extra_continuous_covs", Count(d.continuous_covariates.size())}};
  if (d.continuous_covariates.empty()) return Field(Dict({}), Dict({}), summary);
  return Field(Place("obsm", "_scvi_extra_continuous_covs"),
               Dict({{"columns", TextArray(d.continuous_covariates)}}), summary);
}

std::string ProteinField(const ModelDescription& d) {
  Fields state = {
      {"column_names", d.proteins_from_frame ? p::List(Texts(d.proteins)) : TextArray(d.proteins)}};
  Fields masks;
  for (size_t code = 0; code < d.protein_masks.size(); ++code) {
    if (d.protein_masks[code].empty()) continue;
    masks.emplace_back(absl::StrCat(code), p::BoolArray(d.protein_masks[code]));
  }
  if (!masks.empty()) state.emplace_back("protein_batch_mask", Dict(masks));
  return Field(Place("obsm", d.proteins_key), Dict(state),
               {{"n_proteins", Count(d.proteins.size())}});
}

CategoryRegistry AllLabels(const ModelDescription& d) {
  CategoryRegistry labels = d.labels;
  if (d.model_class == ModelClass::kScanvi) labels.categories.push_back(d.unlabeled_category);
  return labels;
}

std::string FieldRegistries(const ModelDescription& d) {
  Fields fields = {
      {"X", CountsField(d)},
      {"batch", CategoryField(d.batches, "_scvi_batch", "n_batch")},
      {"labels", CategoryField(AllLabels(d), "_scvi_labels", "n_labels", d.unlabeled_category)},
      {"size_factor",
       Field(d.size_factor_key.empty() ? Dict({}) : Place("obs", d.size_factor_key), Dict({}), {})},
      {"extra_categorical_covs", CategoricalField(d)},
      {"extra_continuous_covs", ContinuousField(d)}};
  if (d.model_class == ModelClass::kTotalvi) {
    fields.emplace_back("proteins", ProteinField(d));
    if (!d.panels.categories.empty()) {
      fields.emplace_back("panel", CategoryField(d.panels, "_scvi_panel", "n_panel"));
    }
  }
  return Dict(fields);
}

std::string SetupArguments(const ModelDescription& d) {
  Fields arguments = {{"layer", TextOrNone(d.layer)},
                      {"batch_key", TextOrNone(d.batches.original_key)},
                      {"size_factor_key", TextOrNone(d.size_factor_key)},
                      {"categorical_covariate_keys", TextsOrNone(d.categorical_covariates)},
                      {"continuous_covariate_keys", TextsOrNone(d.continuous_covariates)}};
  if (d.model_class == ModelClass::kTotalvi) {
    arguments.emplace_back("protein_expression_obsm_key", p::Text(d.proteins_key));
    arguments.emplace_back("protein_names_uns_key", TextOrNone(d.protein_names_key));
    // The argument is as old as the newest forward pass.
    if (d.architecture.proteins->variant == TotalviVariant::kCellMean) {
      arguments.emplace_back("panel_key", TextOrNone(d.panels.original_key));
    }
  } else {
    arguments.emplace_back("labels_key", TextOrNone(d.labels.original_key));
  }
  if (d.model_class == ModelClass::kScanvi) {
    arguments.emplace_back("unlabeled_category", p::Text(d.unlabeled_category));
  }
  return Dict(arguments);
}

std::string Norm(const NormReach& reach) {
  if (reach.encoder && reach.decoder) return p::Text("both");
  return p::Text(reach.encoder ? "encoder" : reach.decoder ? "decoder" : "none");
}

/// The classifier takes its sizes from the model; only what differs is written.
void AddClassifier(const Architecture& a, Fields& module) {
  if (a.linear_classifier) return;
  Fields own;
  if (a.classifier_layers != a.n_layers) own.emplace_back("n_layers", p::Int(a.classifier_layers));
  if (a.classifier_hidden != a.n_hidden) own.emplace_back("n_hidden", p::Int(a.classifier_hidden));
  if (a.classifier_dropout != a.dropout_rate) {
    own.emplace_back("dropout_rate", p::Float(a.classifier_dropout));
  }
  if (!own.empty()) module.emplace_back("classifier_parameters", Dict(own));
}

std::string Initial(const Fields& own, const Fields& module) {
  return Dict({{"non_kwargs", Dict(own)}, {"kwargs", Dict({{"model_kwargs", Dict(module)}})}});
}

std::string ScviInitial(const ModelDescription& d, const StateDict& tensors) {
  const Architecture& a = d.architecture;
  const bool scanvi = d.model_class == ModelClass::kScanvi;
  Fields own = {{"n_hidden", p::Int(a.n_hidden)},
                {"n_latent", p::Int(a.n_latent)},
                {"n_layers", p::Int(a.n_layers)},
                {"dropout_rate", p::Float(a.dropout_rate)},
                {"dispersion", p::Text(DispersionName(a.dispersion))},
                {"gene_likelihood", p::Text(GeneLikelihoodName(a.gene_likelihood))},
                {"use_observed_lib_size", p::Bool(a.use_observed_lib_size)}};
  Fields module = {{"encode_covariates", p::Bool(a.encode_covariates)},
                   {"deeply_inject_covariates", p::Bool(a.deeply_inject_covariates)},
                   {"use_batch_norm", Norm(a.batch_norm)},
                   {"use_layer_norm", Norm(a.layer_norm)},
                   {"log_variational", p::Bool(a.log_variational)}};
  (scanvi ? module : own)
      .emplace_back("latent_distribution", p::Text(LatentDistributionName(a.latent_distribution)));
  if (scanvi) {
    own.emplace_back("linear_classifier", p::Bool(a.linear_classifier));
    AddClassifier(a, module);
  }
  if (a.batch_embedding) {
    const int64_t width = tensors.at("_embeddings_dict.batch.weight").shape()[1];
    module.emplace_back("batch_representation", p::Text("embedding"));
    module.emplace_back("batch_embedding_kwargs", Dict({{"embedding_dim", p::Int(width)}}));
  }
  return Initial(own, module);
}

std::string TotalviInitial(const ModelDescription& d) {
  const Architecture& a = d.architecture;
  const ProteinArchitecture& proteins = *a.proteins;
  return Initial({{"n_latent", p::Int(a.n_latent)},
                  {"gene_dispersion", p::Text(DispersionName(a.dispersion))},
                  {"protein_dispersion", p::Text(ProteinDispersionName(proteins.dispersion))},
                  {"gene_likelihood", p::Text(GeneLikelihoodName(a.gene_likelihood))},
                  {"latent_distribution", p::Text(LatentDistributionName(a.latent_distribution))},
                  {"empirical_protein_background_prior", p::Bool(proteins.empirical_prior)},
                  {"override_missing_proteins", p::Bool(proteins.override_missing)}},
                 {{"n_hidden", p::Int(a.n_hidden)},
                  {"n_layers_encoder", p::Int(a.n_layers)},
                  {"n_layers_decoder", p::Int(proteins.n_layers_decoder)},
                  {"dropout_rate_encoder", p::Float(a.dropout_rate)},
                  {"dropout_rate_decoder", p::Float(proteins.dropout_decoder)},
                  {"encode_covariates", p::Bool(a.encode_covariates)},
                  {"use_batch_norm", Norm(a.batch_norm)},
                  {"use_layer_norm", Norm(a.layer_norm)},
                  {"log_variational", p::Bool(a.log_variational)},
                  {"use_observed_lib_size", p::Bool(a.use_observed_lib_size)}});
}

/// An identifier as scvi-tools gives every registry; here, one of the content.
std::string Uuid(std::string_view content) {
  const std::string hex = Sha256Hex(content);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20, 12));
}

std::string Attributes(const ModelDescription& d, const StateDict& tensors) {
  const std::string fields = FieldRegistries(d);
  const std::string registry = Dict({{"scvi_version", p::Text(WrittenVersion(d))},
                                     {"model_name", p::Text(ModelClassName(d.model_class))},
                                     {"setup_method_name", p::Text("setup_anndata")},
                                     {"setup_args", SetupArguments(d)},
                                     {"_scvi_uuid", p::Text(Uuid(fields))},
                                     {"field_registries", fields}});
  Fields attributes = {
      {"registry_", registry},
      {"init_params_",
       d.model_class == ModelClass::kTotalvi ? TotalviInitial(d) : ScviInitial(d, tensors)},
      {"is_trained_", p::Bool(true)},
      {"history_", p::None()},
      {"train_indices_", p::None()},
      {"validation_indices_", p::None()},
      {"test_indices_", p::None()}};
  if (d.model_class == ModelClass::kScanvi) {
    attributes.emplace_back("unlabeled_category_", p::Text(d.unlabeled_category));
  }
  return Dict(attributes);
}

/// scvi-tools' converter of older files adds this tensor to models whose forward pass has none.
bool IsStray(const std::string& key, const ModelDescription& d) {
  const auto& proteins = d.architecture.proteins;
  return key == "log_per_batch_efficiency" && proteins.has_value() &&
         proteins->variant != TotalviVariant::kCellMean;
}

std::string_view BytesOf(const HostTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), tensor.size_bytes()};
}

}  // namespace

std::string WrittenVersion(const ModelDescription& description) {
  if (!description.architecture.proteins.has_value()) return kNewest;
  switch (description.architecture.proteins->variant) {
    case TotalviVariant::kExp:
      return "1.1.6";
    case TotalviVariant::kSoftplus:
      return "1.2.0";
    case TotalviVariant::kSoftplusFloor:
      return "1.3.0";
    case TotalviVariant::kCellMean:
      return kNewest;
  }
  return kNewest;
}

absl::StatusOr<std::string> WriteModel(const ModelDescription& description,
                                       const StateDict& tensors) {
  if (!description.gene_modality.empty()) {
    return FieldError(absl::StatusCode::kUnimplemented, "model",
                      "a model that was set up on a MuData",
                      "Set it up on an AnnData with the proteins in obsm");
  }
  PORTOLAN_ASSIGN_OR_RETURN(const StateShapes shapes,
                            InferShapes(description.model_class, tensors));
  PORTOLAN_RETURN_IF_ERROR(CheckState(description, shapes, tensors));
  p::Pairs state;
  std::vector<ZipFile> files(1);
  for (const auto& [key, tensor] : tensors) {
    if (IsStray(key, description)) continue;
    const std::string storage = absl::StrCat(files.size() - 1);
    const bool integers = tensor.dtype() == DType::kInt64;
    state.emplace_back(p::Text(key), p::Tensor(integers ? "LongStorage" : "FloatStorage", storage,
                                               tensor.shape()));
    files.push_back({absl::StrCat(kPrefix, "/data/", storage), BytesOf(tensor)});
  }
  const std::string pickle = p::Document(Dict({{"model_state_dict", p::OrderedDict(state)},
                                               {"var_names", TextArray(description.genes)},
                                               {"attr_dict", Attributes(description, tensors)}}));
  files[0] = {absl::StrCat(kPrefix, "/data.pkl"), pickle};
  files.push_back({absl::StrCat(kPrefix, "/byteorder"), "little"});
  files.push_back({absl::StrCat(kPrefix, "/version"), "3\n"});
  return WriteZip(files);
}

}  // namespace portolan
