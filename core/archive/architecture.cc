#include "core/archive/architecture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/py_text.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr std::string_view kTwoModels =
    "Save the model again; its tensors, registry and init_params_ are not of one model";

absl::Status Disagree(std::string_view left, std::string_view right) {
  return ArchiveError(absl::StrCat(Absl(left), ", but ", Absl(right)), kTwoModels);
}

absl::Status Unsupported(std::string_view what) {
  return FieldError(absl::StatusCode::kUnimplemented, "model.pt",
                    absl::StrCat("the model was made with ", Absl(what)),
                    "Train the reference without it");
}

/// Arguments of the modules that this reader understands, or that do not touch the forward pass.
bool IsKnownArgument(std::string_view name) {
  static constexpr std::string_view kKnown[] = {"n_hidden",
                                                "n_latent",
                                                "n_layers",
                                                "n_layers_encoder",
                                                "n_layers_decoder",
                                                "dropout_rate",
                                                "dropout_rate_encoder",
                                                "dropout_rate_decoder",
                                                "dispersion",
                                                "gene_dispersion",
                                                "protein_dispersion",
                                                "gene_likelihood",
                                                "latent_distribution",
                                                "log_variational",
                                                "encode_covariates",
                                                "deeply_inject_covariates",
                                                "use_batch_norm",
                                                "use_layer_norm",
                                                "batch_representation",
                                                "batch_embedding_kwargs",
                                                "use_observed_lib_size",
                                                "use_size_factor_key",
                                                "linear_classifier",
                                                "classifier_parameters",
                                                "y_prior",
                                                "library_log_means",
                                                "library_log_vars",
                                                "extra_payload_autotune",
                                                "use_cuda",
                                                "use_gpu",
                                                "unlabeled_category",
                                                "pretrained_model"};
  return std::find(std::begin(kKnown), std::end(kKnown), name) != std::end(kKnown);
}

/// Values that leave an argument without effect.
bool IsIdle(const PyValue& value) {
  return value.is_none() || value.Bool() == false || (value.is(PyKind::kDict) && value.size() == 0);
}

absl::Status CheckArguments(const InitParams& params) {
  for (const std::string& name : params.module_arguments()) {
    if (!IsKnownArgument(name) && !IsIdle(params.Get(name))) {
      return Unsupported(absl::StrCat("the argument ", Absl(Quoted(name))));
    }
  }
  const PyValue classifier = params.Get("classifier_parameters");
  for (size_t i = 0; i < classifier.size(); ++i) {
    const std::string_view name = classifier.Key(i).Str().value_or("?");
    const bool plain_logits = name == "logits" && classifier.Value(i).Bool() == true;
    if (name != "n_hidden" && name != "n_layers" && name != "dropout_rate" && !plain_logits) {
      return Unsupported(absl::StrCat("classifier_parameters ", Absl(Quoted(name))));
    }
  }
  return absl::OkStatus();
}

template <typename T, size_t N>
absl::StatusOr<T> Choose(const InitParams& params, const std::string& name,
                         std::string_view fallback,
                         const std::array<std::pair<std::string_view, T>, N>& choices) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::string text, params.Text(name, fallback));
  for (const auto& [spelling, value] : choices) {
    if (spelling == text) return value;
  }
  return ArchiveError(absl::StrCat("init_params_ gives ", name, " as ", Absl(Quoted(text))),
                      "Train the reference with a value that scvi-tools documents");
}

absl::StatusOr<NormReach> Norm(const InitParams& params, const std::string& name,
                               std::string_view fallback) {
  static constexpr std::array<std::pair<std::string_view, NormReach>, 4> kChoices = {
      {{"none", {false, false}},
       {"encoder", {true, false}},
       {"decoder", {false, true}},
       {"both", {true, true}}}};
  return Choose(params, name, fallback, kChoices);
}

absl::StatusOr<double> Dropout(const InitParams& params, const std::string& name, double fallback) {
  PORTOLAN_ASSIGN_OR_RETURN(const double rate, params.Number(name, fallback));
  if (!(rate >= 0 && rate < 1)) {
    return ArchiveError(absl::StrCat("init_params_ gives ", name, " as ", rate),
                        "Train the reference with a dropout rate from 0 to below 1");
  }
  return rate;
}

/// An argument that the tensors show too: the tensors' value, or an error if the argument was
/// recorded and is another.
absl::Status Agree(const InitParams& params, const std::string& name, int64_t seen) {
  PORTOLAN_ASSIGN_OR_RETURN(const int64_t stated, params.Int(name, seen));
  if (stated == seen) return absl::OkStatus();
  return Disagree(absl::StrCat("init_params_ says ", name, " = ", stated),
                  absl::StrCat("the tensors have ", seen));
}

class Reader {
 public:
  Reader(ModelClass model_class, const Registry& registry, const InitParams& params,
         const StateShapes& shapes)
      : totalvi_(model_class == ModelClass::kTotalvi),
        scanvi_(model_class == ModelClass::kScanvi),
        registry_(registry),
        params_(params),
        shapes_(shapes) {}

  absl::StatusOr<Architecture> Read() {
    PORTOLAN_RETURN_IF_ERROR(CheckArguments(params_));
    PORTOLAN_RETURN_IF_ERROR(ReadChoices());
    PORTOLAN_RETURN_IF_ERROR(ReadSizes());
    PORTOLAN_RETURN_IF_ERROR(ReadNorms());
    PORTOLAN_RETURN_IF_ERROR(ReadCovariates());
    PORTOLAN_RETURN_IF_ERROR(ReadEncodedCovariates());
    PORTOLAN_RETURN_IF_ERROR(ReadDeepInjection());
    PORTOLAN_RETURN_IF_ERROR(ReadLibrary());
    PORTOLAN_RETURN_IF_ERROR(ReadDispersion());
    if (scanvi_) PORTOLAN_RETURN_IF_ERROR(ReadClassifier());
    if (totalvi_) PORTOLAN_RETURN_IF_ERROR(ReadProteins());
    return a_;
  }

 private:
  absl::Status ReadChoices();
  absl::Status ReadSizes();
  absl::Status ReadNorms();
  absl::Status ReadCovariates();
  absl::Status ReadEncodedCovariates();
  absl::Status ReadDeepInjection();
  absl::Status ReadLibrary();
  absl::Status ReadDispersion();
  absl::Status ReadClassifier();
  absl::Status ReadProteins();
  absl::Status ReadProteinDispersion();

  const bool totalvi_;
  const bool scanvi_;
  const Registry& registry_;
  const InitParams& params_;
  const StateShapes& shapes_;
  Architecture a_;
  int64_t one_hots_ = 0;  // columns of all categorical covariates
  int64_t beside_ = 0;    // columns of continuous covariates and of the embedded batch
};

absl::Status Reader::ReadChoices() {
  static constexpr std::array<std::pair<std::string_view, GeneLikelihood>, 4> kLikelihoods = {
      {{"zinb", GeneLikelihood::kZinb},
       {"nb", GeneLikelihood::kNb},
       {"poisson", GeneLikelihood::kPoisson},
       {"normal", GeneLikelihood::kNormal}}};
  static constexpr std::array<std::pair<std::string_view, LatentDistribution>, 2> kLatents = {
      {{"normal", LatentDistribution::kNormal}, {"ln", LatentDistribution::kLogisticNormal}}};
  PORTOLAN_ASSIGN_OR_RETURN(a_.gene_likelihood, Choose(params_, "gene_likelihood",
                                                       totalvi_ ? "nb" : "zinb", kLikelihoods));
  PORTOLAN_ASSIGN_OR_RETURN(a_.latent_distribution,
                            Choose(params_, "latent_distribution", "normal", kLatents));
  PORTOLAN_ASSIGN_OR_RETURN(a_.log_variational, params_.Bool("log_variational", true));
  PORTOLAN_ASSIGN_OR_RETURN(a_.dropout_rate, totalvi_
                                                 ? Dropout(params_, "dropout_rate_encoder", 0.2)
                                                 : Dropout(params_, "dropout_rate", 0.1));
  a_.has_size_factor = registry_.has_size_factor;
  return absl::OkStatus();
}

absl::Status Reader::ReadSizes() {
  a_.n_genes = shapes_.n_genes;
  a_.n_hidden = shapes_.n_hidden;
  a_.n_latent = shapes_.n_latent;
  a_.n_layers = shapes_.n_layers;
  a_.n_batch = static_cast<int64_t>(registry_.batches.categories.size());
  a_.n_labels = static_cast<int64_t>(registry_.labels.categories.size()) - (scanvi_ ? 1 : 0);
  a_.n_continuous_covs = static_cast<int64_t>(registry_.continuous_covariates.size());
  for (const auto& categories : registry_.covariate_categories) {
    a_.n_cats_per_cov.push_back(static_cast<int64_t>(categories.size()));
  }
  PORTOLAN_RETURN_IF_ERROR(Agree(params_, "n_hidden", a_.n_hidden));
  PORTOLAN_RETURN_IF_ERROR(Agree(params_, "n_latent", a_.n_latent));
  if (totalvi_) {
    PORTOLAN_RETURN_IF_ERROR(Agree(params_, "n_layers_encoder", a_.n_layers));
    return Agree(params_, "n_layers_decoder", shapes_.decoder_layers);
  }
  PORTOLAN_RETURN_IF_ERROR(Agree(params_, "n_layers", a_.n_layers));
  if (shapes_.decoder_layers == a_.n_layers) return absl::OkStatus();
  return Disagree(absl::StrCat("the encoder has ", a_.n_layers, " layers"),
                  absl::StrCat("the decoder has ", shapes_.decoder_layers));
}

absl::Status Reader::ReadNorms() {
  a_.batch_norm = shapes_.batch_norm;
  PORTOLAN_ASSIGN_OR_RETURN(a_.layer_norm, Norm(params_, "use_layer_norm", "none"));
  if (!params_.Has("use_batch_norm")) return absl::OkStatus();
  PORTOLAN_ASSIGN_OR_RETURN(const NormReach stated, Norm(params_, "use_batch_norm", "both"));
  if (stated.encoder == a_.batch_norm.encoder && stated.decoder == a_.batch_norm.decoder) {
    return absl::OkStatus();
  }
  const auto in = [](bool has) { return has ? "has" : "lacks"; };
  PORTOLAN_ASSIGN_OR_RETURN(const std::string text, params_.Text("use_batch_norm", "both"));
  return Disagree(absl::StrCat("init_params_ says use_batch_norm = ", Absl(Quoted(text))),
                  absl::StrCat("the encoder ", in(a_.batch_norm.encoder), " and the decoder ",
                               in(a_.batch_norm.decoder), " batch norm tensors"));
}

/// The decoder always sees every covariate, so its first layer tells how many there are.
absl::Status Reader::ReadCovariates() {
  PORTOLAN_ASSIGN_OR_RETURN(const std::string representation,
                            params_.Text("batch_representation", "one-hot"));
  a_.batch_embedding = representation == "embedding";
  if (a_.batch_embedding != (shapes_.batch_embedding > 0)) {
    return Disagree(
        absl::StrCat("init_params_ says batch_representation = ", Absl(Quoted(representation))),
        shapes_.batch_embedding > 0 ? "the tensors hold a batch embedding"
                                    : "the tensors hold no batch embedding");
  }
  if (a_.batch_embedding && shapes_.embedded_batches != a_.n_batch) {
    return Disagree(absl::StrCat("the registry has ", a_.n_batch, " batches"),
                    absl::StrCat("the batch embedding has ", shapes_.embedded_batches, " rows"));
  }
  const auto columns = [](int64_t categories) { return categories > 1 ? categories : 0; };
  if (!a_.batch_embedding) one_hots_ += columns(a_.n_batch);
  for (const int64_t categories : a_.n_cats_per_cov) one_hots_ += columns(categories);
  beside_ = a_.n_continuous_covs + shapes_.batch_embedding;
  const int64_t wanted = a_.n_latent + beside_ + one_hots_;
  if (shapes_.decoder_inputs == wanted) return absl::OkStatus();
  return Disagree(
      absl::StrCat("the registry has ", a_.n_batch, " batches, ", a_.n_cats_per_cov.size(),
                   " categorical and ", a_.n_continuous_covs, " continuous covariates: ",
                   wanted - a_.n_latent, " columns beside the latent ones"),
      absl::StrCat("the decoder's first layer has ", shapes_.decoder_inputs - a_.n_latent));
}

absl::Status Reader::ReadEncodedCovariates() {
  PORTOLAN_ASSIGN_OR_RETURN(a_.encode_covariates, params_.Bool("encode_covariates", totalvi_));
  const int64_t bare = a_.n_genes + (totalvi_ ? shapes_.n_proteins : 0);
  const int64_t with = bare + beside_ + one_hots_;
  if (with == bare && shapes_.encoder_inputs == bare) return absl::OkStatus();
  const bool seen = shapes_.encoder_inputs == with;
  if (!seen && shapes_.encoder_inputs != bare) {
    return Disagree(
        absl::StrCat(bare, " features call for ", bare, " or, with covariates, ", with, " columns"),
        absl::StrCat("the encoder's first layer has ", shapes_.encoder_inputs));
  }
  if (params_.Has("encode_covariates") && seen != a_.encode_covariates) {
    return Disagree(absl::StrCat("init_params_ says encode_covariates = ",
                                 a_.encode_covariates ? "True" : "False"),
                    absl::StrCat("the encoder's first layer has ", shapes_.encoder_inputs,
                                 " columns for ", bare, " features"));
  }
  a_.encode_covariates = seen;
  return absl::OkStatus();
}

absl::Status Reader::ReadDeepInjection() {
  PORTOLAN_ASSIGN_OR_RETURN(a_.deeply_inject_covariates,
                            params_.Bool("deeply_inject_covariates", true));
  if (totalvi_) a_.deeply_inject_covariates = true;
  if (shapes_.decoder_layers < 2 || one_hots_ == 0) return absl::OkStatus();
  const bool seen = shapes_.decoder_later == a_.n_hidden + one_hots_;
  if (!seen && shapes_.decoder_later != a_.n_hidden) {
    return Disagree(
        absl::StrCat("n_hidden ", a_.n_hidden, " and ", one_hots_, " covariate columns call for ",
                     a_.n_hidden, " or ", a_.n_hidden + one_hots_, " columns"),
        absl::StrCat("the decoder's second layer has ", shapes_.decoder_later));
  }
  if ((totalvi_ || params_.Has("deeply_inject_covariates")) &&
      seen != a_.deeply_inject_covariates) {
    return Disagree(absl::StrCat("init_params_ says deeply_inject_covariates = ",
                                 a_.deeply_inject_covariates ? "True" : "False"),
                    absl::StrCat("the decoder's second layer has ", shapes_.decoder_later,
                                 " columns for n_hidden ", a_.n_hidden));
  }
  a_.deeply_inject_covariates = seen;
  return absl::OkStatus();
}

absl::Status Reader::ReadLibrary() {
  PORTOLAN_ASSIGN_OR_RETURN(const bool stated, params_.Bool("use_observed_lib_size", true));
  a_.use_observed_lib_size = !shapes_.latent_library;
  const bool effective = stated || a_.has_size_factor;
  if (!params_.Has("use_observed_lib_size") || effective == a_.use_observed_lib_size) {
    return absl::OkStatus();
  }
  return Disagree(
      absl::StrCat("init_params_ says use_observed_lib_size = ", stated ? "True" : "False"),
      shapes_.latent_library ? "the tensors hold library_log_means"
                             : "the tensors hold no library_log_means");
}

absl::Status Reader::ReadDispersion() {
  static constexpr std::array<std::pair<std::string_view, Dispersion>, 4> kChoices = {
      {{"gene", Dispersion::kGene},
       {"gene-batch", Dispersion::kGeneBatch},
       {"gene-label", Dispersion::kGeneLabel},
       {"gene-cell", Dispersion::kGeneCell}}};
  PORTOLAN_ASSIGN_OR_RETURN(
      a_.dispersion,
      Choose(params_, totalvi_ ? "gene_dispersion" : "dispersion", "gene", kChoices));
  std::vector<int64_t> wanted;
  if (a_.dispersion != Dispersion::kGeneCell) wanted.push_back(a_.n_genes);
  if (a_.dispersion == Dispersion::kGeneBatch) wanted.push_back(a_.n_batch);
  if (a_.dispersion == Dispersion::kGeneLabel) wanted.push_back(a_.n_labels);
  if (wanted == shapes_.px_r) return absl::OkStatus();
  return Disagree(
      absl::StrCat("dispersion ", Absl(Quoted(DispersionName(a_.dispersion))), " of ", a_.n_genes,
                   " genes, ", a_.n_batch, " batches, ", a_.n_labels, " labels calls for px_r ",
                   ShapeString(wanted)),
      shapes_.px_r.empty() ? "there is none" : absl::StrCat("it has ", ShapeString(shapes_.px_r)));
}

absl::Status Reader::ReadClassifier() {
  if (shapes_.n_labels != a_.n_labels) {
    return Disagree(
        absl::StrCat("the registry has ", a_.n_labels, " labels beside the unlabelled category"),
        absl::StrCat("the classifier has ", shapes_.n_labels));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const bool linear,
                            params_.Bool("linear_classifier", shapes_.linear_classifier));
  a_.linear_classifier = shapes_.linear_classifier;
  a_.classifier_layers = shapes_.classifier_layers;
  a_.classifier_hidden = shapes_.classifier_hidden;
  if (linear && !a_.linear_classifier) {
    return Disagree("init_params_ says linear_classifier = True",
                    "the classifier has a hidden layer");
  }
  if (!a_.linear_classifier) {
    const PyValue own = params_.Get("classifier_parameters").Get("n_layers");
    const int64_t stated =
        IntOf(own.is_none() ? params_.Get("n_layers") : own).value_or(a_.classifier_layers);
    if (stated != a_.classifier_layers || stated < 1) {
      return Disagree(absl::StrCat("init_params_ gives the classifier ", stated, " layers"),
                      absl::StrCat("the tensors have ", a_.classifier_layers));
    }
  }
  a_.classifier_dropout = a_.dropout_rate;
  const PyValue rate = params_.Get("classifier_parameters").Get("dropout_rate");
  if (rate.is_none()) return absl::OkStatus();
  a_.classifier_dropout = NumberOf(rate).value_or(-1);
  if (a_.classifier_dropout >= 0 && a_.classifier_dropout < 1) return absl::OkStatus();
  return ArchiveError("classifier_parameters has a dropout_rate that is no rate",
                      "Train the reference with a dropout rate from 0 to below 1");
}

TotalviVariant VariantOf(const ScviVersion& version, bool efficiency) {
  // Builds between 1.3.0 and 1.3.1 call themselves 1.3.0; the tensor tells them from the release.
  // In older files it comes from scvi-tools' converter and means nothing.
  if (version > ScviVersion{1, 3, 0}) return TotalviVariant::kCellMean;
  if (version == ScviVersion{1, 3, 0} && efficiency) return TotalviVariant::kCellMean;
  if (version >= ScviVersion{1, 2, 1}) return TotalviVariant::kSoftplusFloor;
  if (version >= ScviVersion{1, 2, 0}) return TotalviVariant::kSoftplus;
  return TotalviVariant::kExp;
}

bool AnyMissing(const std::vector<std::vector<bool>>& masks) {
  return std::any_of(masks.begin(), masks.end(), [](const std::vector<bool>& mask) {
    return std::find(mask.begin(), mask.end(), false) != mask.end();
  });
}

absl::Status Reader::ReadProteins() {
  const auto registered = static_cast<int64_t>(registry_.proteins.size());
  if (registered != shapes_.n_proteins) {
    return Disagree(absl::StrCat("the registry has ", registered, " proteins"),
                    absl::StrCat("the tensors have ", shapes_.n_proteins));
  }
  ProteinArchitecture& p = a_.proteins.emplace();
  p.n_proteins = registered;
  p.n_layers_decoder = shapes_.decoder_layers;
  PORTOLAN_ASSIGN_OR_RETURN(p.dropout_decoder, Dropout(params_, "dropout_rate_decoder", 0.2));
  const ScviVersion version = ParseScviVersion(registry_.scvi_version);
  p.variant = VariantOf(version, shapes_.efficiency);
  p.has_efficiency = shapes_.efficiency || p.variant == TotalviVariant::kCellMean;
  p.prior_per_panel = !registry_.panels.categories.empty();
  p.n_priors =
      p.prior_per_panel ? static_cast<int64_t>(registry_.panels.categories.size()) : a_.n_batch;
  if (p.n_priors != shapes_.background_columns) {
    return Disagree(
        absl::StrCat("the registry has ", p.n_priors, p.prior_per_panel ? " panels" : " batches"),
        absl::StrCat("background_pro_alpha has ", shapes_.background_columns, " columns"));
  }
  constexpr int64_t kFewProteins = 10;
  PORTOLAN_ASSIGN_OR_RETURN(p.empirical_prior, params_.Bool("empirical_protein_background_prior",
                                                            p.n_proteins > kFewProteins));
  PORTOLAN_ASSIGN_OR_RETURN(p.override_missing, params_.Bool("override_missing_proteins", false));
  // From 1.2 on there is none for a single batch, which leaves it nothing to tell apart.
  p.adversarial_classifier = !p.override_missing && AnyMissing(registry_.protein_masks) &&
                             (a_.n_batch > 1 || version < ScviVersion{1, 2, 0});
  return ReadProteinDispersion();
}

absl::Status Reader::ReadProteinDispersion() {
  static constexpr std::array<std::pair<std::string_view, ProteinDispersion>, 3> kChoices = {
      {{"protein", ProteinDispersion::kProtein},
       {"protein-batch", ProteinDispersion::kProteinBatch},
       {"protein-label", ProteinDispersion::kProteinLabel}}};
  ProteinArchitecture& p = *a_.proteins;
  PORTOLAN_ASSIGN_OR_RETURN(p.dispersion,
                            Choose(params_, "protein_dispersion", "protein", kChoices));
  std::vector<int64_t> wanted = {p.n_proteins};
  if (p.dispersion == ProteinDispersion::kProteinBatch) wanted.push_back(a_.n_batch);
  if (p.dispersion == ProteinDispersion::kProteinLabel) wanted.push_back(a_.n_labels);
  if (wanted == shapes_.py_r) return absl::OkStatus();
  return Disagree(
      absl::StrCat("protein dispersion ", Absl(Quoted(ProteinDispersionName(p.dispersion))),
                   " calls for py_r ", ShapeString(wanted)),
      shapes_.py_r.empty() ? "there is none" : absl::StrCat("it has ", ShapeString(shapes_.py_r)));
}

}  // namespace

absl::StatusOr<Architecture> ReadArchitecture(ModelClass model_class, const Registry& registry,
                                              const InitParams& params, const StateShapes& shapes) {
  return Reader(model_class, registry, params, shapes).Read();
}

}  // namespace portolan
