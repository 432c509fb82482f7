#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace portolan {

enum class ModelClass { kScvi, kScanvi, kTotalvi };
enum class GeneLikelihood { kZinb, kNb, kPoisson, kNormal };
enum class Dispersion { kGene, kGeneBatch, kGeneLabel, kGeneCell };
enum class LatentDistribution { kNormal, kLogisticNormal };
enum class ProteinDispersion { kProtein, kProteinBatch, kProteinLabel };

/// TOTALVI has had four forward passes; a model means what the version that saved it computed.
enum class TotalviVariant {
  kExp,            ///< before 1.2: background scale exp(u)
  kSoftplus,       ///< 1.2.0: softplus(u)
  kSoftplusFloor,  ///< 1.2.1 to 1.3.0: softplus(u) + 1e-8
  /// From 1.3.1: as before, and the encoder sees counts divided by 1 + their mean over the cell,
  /// protein rates are multiplied by an efficiency per batch, the KL weight applies to the protein
  /// reconstruction, too, and there are two more penalties.
  kCellMean,
};

std::string_view ModelClassName(ModelClass model_class);  ///< "SCVI", "SCANVI", "TOTALVI"
std::string_view GeneLikelihoodName(GeneLikelihood likelihood);
std::string_view DispersionName(Dispersion dispersion);
std::string_view LatentDistributionName(LatentDistribution distribution);
std::string_view ProteinDispersionName(ProteinDispersion dispersion);
/// "exp", "softplus", "softplus-floor", "cell-mean".
std::string_view TotalviVariantName(TotalviVariant variant);

/// Which networks a norm reaches: "encoder" is z_encoder, l_encoder and, in SCANVI, also the
/// classifier and encoder_z2_z1; "decoder" is px_decoder and decoder_z1_z2.
struct NormReach {
  bool encoder = false;
  bool decoder = false;
};

/// "X.Y.Z", comparable. A missing or unreadable version counts as 0.0.0.
struct ScviVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;
  auto operator<=>(const ScviVersion&) const = default;
};
ScviVersion ParseScviVersion(std::string_view text);

/// What TOTALVI has beside the genes. Genes and proteins share one encoder; its layers, the hidden
/// width of all networks and the dropout of the encoder stand in Architecture.
struct ProteinArchitecture {
  int64_t n_proteins = 0;
  int64_t n_layers_decoder = 1;  ///< of the four decoder bodies
  double dropout_decoder = 0.2;  ///< of the bodies; heads have none
  ProteinDispersion dispersion = ProteinDispersion::kProtein;
  TotalviVariant variant = TotalviVariant::kCellMean;
  /// Columns of background_pro_alpha and background_pro_log_beta, the prior of the background: one
  /// per panel if the model was set up with a panel key, else one per batch. Unlike the columns of
  /// a Linear, a single batch has one, too.
  int64_t n_priors = 1;
  bool prior_per_panel = false;
  /// The prior of a new batch starts from its counts, not from constants.
  bool empirical_prior = true;
  bool has_efficiency = true;     ///< log_per_batch_efficiency (P, K) exists
  bool override_missing = false;  ///< masks are ignored: zeros count as measured
  /// scvi-tools trains the model against a classifier of the batch: some batch lacks proteins.
  bool adversarial_classifier = false;
};

/// Everything that changes the forward pass. Shapes come from the tensors, the rest from
/// init_params_ and the registry, with the defaults of the version that saved the model.
struct Architecture {
  int64_t n_genes = 0;
  int64_t n_batch = 1;   ///< 1: no batch columns exist
  int64_t n_labels = 1;  ///< SCANVI: without the unlabelled category
  int64_t n_hidden = 0;
  int64_t n_latent = 0;
  int64_t n_layers = 1;  ///< TOTALVI: of the encoder
  double dropout_rate = 0.1;
  Dispersion dispersion = Dispersion::kGene;  ///< TOTALVI: of the genes
  GeneLikelihood gene_likelihood = GeneLikelihood::kZinb;
  LatentDistribution latent_distribution = LatentDistribution::kNormal;
  bool log_variational = true;
  bool encode_covariates = false;
  bool deeply_inject_covariates = true;
  bool use_observed_lib_size = true;
  NormReach batch_norm = {true, true};
  NormReach layer_norm = {false, false};
  bool linear_classifier = false;
  int64_t classifier_layers = 1;
  int64_t classifier_hidden = 128;
  double classifier_dropout = 0.1;
  bool batch_embedding = false;         ///< batch_representation="embedding"
  bool has_size_factor = false;         ///< softplus scale, library from a column
  std::vector<int64_t> n_cats_per_cov;  ///< extra categorical covariates
  int64_t n_continuous_covs = 0;
  std::optional<ProteinArchitecture> proteins;  ///< TOTALVI
};

/// What the values of an obs column are in Python. 1 and "1" are two categories there.
enum class CategoryKind { kText, kInteger, kReal, kBool };

/// A categorical registry: names in code order, as text (numbers as Python's str() spells them).
struct CategoryRegistry {
  std::string original_key;  ///< obs column; empty if the model was set up without one
  std::vector<std::string> categories;
  CategoryKind kind = CategoryKind::kText;
};

/// What a saved model says about itself, checked against its tensors.
struct ModelDescription {
  ModelClass model_class = ModelClass::kScvi;
  std::string scvi_version;
  Architecture architecture;
  std::vector<std::string> genes;
  CategoryRegistry batches;
  CategoryRegistry labels;                          ///< SCANVI: without the unlabelled category
  std::string unlabeled_category;                   ///< SCANVI
  std::string layer;                                ///< layer the counts came from; empty for X
  std::vector<std::string> categorical_covariates;  ///< obs columns
  std::vector<std::string> continuous_covariates;   ///< obs columns
  std::vector<std::string> proteins;                ///< TOTALVI, in model order
  std::string proteins_key;          ///< obsm key at training, or the modality of a MuData
  std::string protein_names_key;     ///< uns key that named the columns of an obsm array
  bool proteins_from_frame = false;  ///< the obsm entry was a data frame, which names its columns
  /// By batch code (panel code with a panel key) and protein: measured there. An empty entry:
  /// nothing is recorded, so all are; no entries: all are in every batch.
  std::vector<std::vector<bool>> protein_masks;
  CategoryRegistry panels;  ///< no categories without a panel key
  /// For every categorical covariate its categories in code order, as text.
  std::vector<std::vector<std::string>> covariate_categories;
  std::vector<CategoryKind> covariate_kinds;  ///< of those categories
  std::string size_factor_key;  ///< obs column; empty if the model was set up without one
  std::string gene_modality;    ///< MuData: the modality of the genes; empty for an AnnData
  /// Saved with a data set that holds latents in place of counts. The model itself is whole.
  bool minified = false;
  int64_t training_cells = -1;  ///< -1: not recorded
};

}  // namespace portolan
