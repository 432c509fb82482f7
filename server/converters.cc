#include "server/converters.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/resource_names.h"
#include "server/status.h"

namespace portolan::server {
namespace {

constexpr int kMaxEpochs = 100'000;
constexpr int kMaxMinibatch = 1 << 20;

absl::Status CheckWhole(absl::string_view name, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return InvalidField(absl::StrCat("options.", name), absl::StrCat(value),
                      absl::StrCat("Give a number from ", low, " to ", high, "."));
}

/// Written so that NaN fails.
absl::Status CheckReal(absl::string_view name, double value, bool zero_is_fine) {
  if ((value > 0 || (zero_is_fine && value == 0)) && value <= 10) return absl::OkStatus();
  return InvalidField(
      absl::StrCat("options.", name), absl::StrFormat("%g", value),
      zero_is_fine ? "Give a number from 0 to 10." : "Give a number up to 10, above 0.");
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

template <typename T>
void AppendAll(const T& from, google::protobuf::RepeatedPtrField<std::string>* to) {
  to->Add(from.begin(), from.end());
}

std::string Bytes(const void* data, size_t size) {
  return std::string(static_cast<const char*>(data), size);
}

void DescribeProteins(const ModelDescription& description, v1::Model& wire) {
  const ProteinArchitecture& proteins = *description.architecture.proteins;
  wire.set_n_proteins(proteins.n_proteins);
  wire.set_proteins_key(description.proteins_key);
  wire.set_protein_dispersion(std::string(ProteinDispersionName(proteins.dispersion)));
  wire.set_totalvi_variant(std::string(TotalviVariantName(proteins.variant)));
  wire.set_n_layers_decoder(proteins.n_layers_decoder);
  const std::vector<std::string>& codes =
      proteins.prior_per_panel ? description.panels.categories : description.batches.categories;
  for (size_t code = 0; code < description.protein_masks.size(); ++code) {
    const std::vector<bool>& mask = description.protein_masks[code];
    if (std::find(mask.begin(), mask.end(), false) == mask.end()) continue;
    v1::MissingProteins* missing = wire.add_missing_proteins();
    missing->set_batch(codes[code]);
    for (size_t i = 0; i < mask.size(); ++i) {
      if (!mask[i]) missing->add_proteins(description.proteins[i]);
    }
  }
}

v1::Mapping::State ToProto(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return v1::Mapping::QUEUED;
    case JobState::kRunning:
      return v1::Mapping::RUNNING;
    case JobState::kSucceeded:
      return v1::Mapping::SUCCEEDED;
    case JobState::kFailed:
      return v1::Mapping::FAILED;
    case JobState::kCancelled:
      return v1::Mapping::CANCELLED;
  }
  return v1::Mapping::STATE_UNSPECIFIED;
}

v1::BatchReport ToProto(const BatchReport& report) {
  v1::BatchReport wire;
  wire.set_batch(report.batch);
  wire.set_cells(report.cells);
  wire.set_trained(report.trained);
  wire.set_epochs(report.epochs);
  wire.set_steps(report.steps);
  wire.mutable_train_loss()->Add(report.train_loss.begin(), report.train_loss.end());
  wire.mutable_validation_elbo()->Add(report.validation_elbo.begin(), report.validation_elbo.end());
  wire.set_elbo(report.elbo);
  wire.set_stop_reason(report.stop_reason);
  wire.set_seconds(report.seconds);
  return wire;
}

absl::StatusOr<Strategy> FromProto(v1::MappingOptions::Strategy strategy) {
  switch (strategy) {
    case v1::MappingOptions::STRATEGY_UNSPECIFIED:
    case v1::MappingOptions::INDEPENDENT:
      return Strategy::kIndependent;
    case v1::MappingOptions::JOINT:
      return Strategy::kJoint;
    case v1::MappingOptions::CHAIN:
      return Strategy::kChain;
    default:
      return InvalidField("options.strategy", absl::StrCat(static_cast<int>(strategy)),
                          "Choose INDEPENDENT, JOINT or CHAIN.");
  }
}

absl::StatusOr<Preset> FromProto(v1::MappingOptions::Preset preset) {
  switch (preset) {
    case v1::MappingOptions::PRESET_UNSPECIFIED:
    case v1::MappingOptions::SCVI:
      return Preset::kScvi;
    case v1::MappingOptions::HLCA:
      return Preset::kHlca;
    case v1::MappingOptions::NEWTON:
      return Preset::kNewton;
    default:
      return InvalidField("options.preset", absl::StrCat(static_cast<int>(preset)),
                          "Choose SCVI, HLCA or NEWTON.");
  }
}

absl::StatusOr<Precision> FromProto(v1::MappingOptions::Precision precision) {
  switch (precision) {
    case v1::MappingOptions::PRECISION_UNSPECIFIED:
    case v1::MappingOptions::FLOAT32:
      return Precision::kFloat32;
    case v1::MappingOptions::BF16:
      return Precision::kBf16;
    default:
      return InvalidField("options.precision", absl::StrCat(static_cast<int>(precision)),
                          "Choose FLOAT32 or BF16.");
  }
}

void CopyFreezeFlags(const v1::MappingOptions& wire, MappingOptions& options) {
  if (wire.has_unfrozen()) options.unfrozen = wire.unfrozen();
  if (wire.has_freeze_dropout()) options.freeze_dropout = wire.freeze_dropout();
  if (wire.has_freeze_expression()) options.freeze_expression = wire.freeze_expression();
  if (wire.has_freeze_decoder_first_layer()) {
    options.freeze_decoder_first_layer = wire.freeze_decoder_first_layer();
  }
  if (wire.has_freeze_batchnorm_encoder()) {
    options.freeze_batchnorm_encoder = wire.freeze_batchnorm_encoder();
  }
  if (wire.has_freeze_batchnorm_decoder()) {
    options.freeze_batchnorm_decoder = wire.freeze_batchnorm_decoder();
  }
  if (wire.has_freeze_classifier()) options.freeze_classifier = wire.freeze_classifier();
}

}  // namespace

absl::StatusOr<MappingOptions> FromProto(const v1::MappingOptions& wire) {
  MappingOptions options;
  PORTOLAN_ASSIGN_OR_RETURN(options.strategy, FromProto(wire.strategy()));
  PORTOLAN_ASSIGN_OR_RETURN(options.preset, FromProto(wire.preset()));
  options.seed = wire.seed();
  if (wire.has_epochs()) {
    PORTOLAN_RETURN_IF_ERROR(CheckWhole("epochs", wire.epochs(), 1, kMaxEpochs));
    options.epochs = wire.epochs();
  }
  if (wire.has_minibatch()) {
    PORTOLAN_RETURN_IF_ERROR(CheckWhole("minibatch", wire.minibatch(), 1, kMaxMinibatch));
    options.minibatch = wire.minibatch();
  }
  if (wire.has_learning_rate()) {
    PORTOLAN_RETURN_IF_ERROR(CheckReal("learning_rate", wire.learning_rate(), false));
    options.learning_rate = wire.learning_rate();
  }
  if (wire.has_weight_decay()) {
    PORTOLAN_RETURN_IF_ERROR(CheckReal("weight_decay", wire.weight_decay(), true));
    options.weight_decay = wire.weight_decay();
  }
  CopyFreezeFlags(wire, options);
  if (wire.compat() != v1::MappingOptions::COMPAT_UNSPECIFIED &&
      wire.compat() != v1::MappingOptions::COMPAT_SCVI) {
    return InvalidField("options.compat", absl::StrCat(static_cast<int>(wire.compat())),
                        "Use COMPAT_SCVI, or leave it out.");
  }
  options.compat_scvi = wire.compat() == v1::MappingOptions::COMPAT_SCVI;
  PORTOLAN_ASSIGN_OR_RETURN(options.precision, FromProto(wire.precision()));
  return options;
}

GeneReport FromProto(const v1::GeneReport& wire) {
  GeneReport report;
  report.reference_genes = wire.reference_genes();
  report.matched = wire.matched();
  report.missing.assign(wire.missing().begin(), wire.missing().end());
  report.extra = wire.extra();
  report.duplicated.assign(wire.duplicated().begin(), wire.duplicated().end());
  report.reordered = wire.reordered();
  return report;
}

v1::GeneReport ToProto(const GeneReport& report) {
  v1::GeneReport wire;
  wire.set_reference_genes(report.reference_genes);
  wire.set_matched(report.matched);
  AppendAll(report.missing, wire.mutable_missing());
  wire.set_extra(report.extra);
  AppendAll(report.duplicated, wire.mutable_duplicated());
  wire.set_reordered(report.reordered);
  return wire;
}

ProteinReport FromProto(const v1::ProteinReport& wire) {
  ProteinReport report;
  report.reference_proteins = wire.reference_proteins();
  report.matched = wire.matched();
  report.missing.assign(wire.missing().begin(), wire.missing().end());
  report.extra.assign(wire.extra().begin(), wire.extra().end());
  for (const auto& pair : wire.renamed()) {
    report.renamed.emplace_back(pair.query(), pair.reference());
  }
  return report;
}

v1::ProteinReport ToProto(const ProteinReport& report) {
  v1::ProteinReport wire;
  wire.set_reference_proteins(report.reference_proteins);
  wire.set_matched(report.matched);
  AppendAll(report.missing, wire.mutable_missing());
  AppendAll(report.extra, wire.mutable_extra());
  for (const auto& [query, reference] : report.renamed) {
    v1::ProteinReport::Renamed* pair = wire.add_renamed();
    pair->set_query(query);
    pair->set_reference(reference);
  }
  return wire;
}

namespace {

// What the model reads of a cell beside counts and batch.
void DescribeAnnotations(const ModelDescription& description, v1::Model& wire) {
  const Architecture& architecture = description.architecture;
  for (size_t i = 0; i < description.categorical_covariates.size(); ++i) {
    v1::CategoricalCovariate* covariate = wire.add_categorical_covariates();
    covariate->set_name(description.categorical_covariates[i]);
    AppendAll(description.covariate_categories[i], covariate->mutable_categories());
  }
  AppendAll(description.continuous_covariates, wire.mutable_continuous_covariates());
  wire.set_size_factor_key(description.size_factor_key);
  wire.set_reads_labels(architecture.dispersion == Dispersion::kGeneLabel);
  if (wire.reads_labels()) {
    AppendAll(description.labels.categories, wire.mutable_label_categories());
  }
  wire.set_batch_embedding(architecture.batch_embedding);
  wire.set_linear_classifier(architecture.linear_classifier);
}

}  // namespace

v1::Model ToProto(const ModelDescription& description) {
  const Architecture& architecture = description.architecture;
  v1::Model wire;
  wire.set_model_class(std::string(ModelClassName(description.model_class)));
  wire.set_scvi_version(description.scvi_version);
  wire.set_n_latent(architecture.n_latent);
  wire.set_n_hidden(architecture.n_hidden);
  wire.set_n_layers(architecture.n_layers);
  wire.set_gene_likelihood(std::string(GeneLikelihoodName(architecture.gene_likelihood)));
  wire.set_dispersion(std::string(DispersionName(architecture.dispersion)));
  wire.set_encode_covariates(architecture.encode_covariates);
  wire.set_use_observed_lib_size(architecture.use_observed_lib_size);
  wire.set_batch_norm(architecture.batch_norm.encoder || architecture.batch_norm.decoder);
  wire.set_layer_norm(architecture.layer_norm.encoder || architecture.layer_norm.decoder);
  wire.set_batch_key(description.batches.original_key);
  wire.set_labels_key(description.labels.original_key);
  wire.set_unlabeled_category(description.unlabeled_category);
  if (description.model_class == ModelClass::kScanvi) {
    AppendAll(description.labels.categories, wire.mutable_labels());
  }
  wire.set_n_genes(architecture.n_genes);
  wire.set_latent_distribution(
      std::string(LatentDistributionName(architecture.latent_distribution)));
  wire.set_layer(description.layer);
  wire.set_minified(description.minified);
  wire.set_training_cells(description.training_cells);
  if (architecture.proteins.has_value()) DescribeProteins(description, wire);
  DescribeAnnotations(description, wire);
  return wire;
}

v1::Atlas ToProto(const Atlas& atlas) {
  v1::Atlas wire;
  wire.set_name(AtlasName(atlas.name()));
  *wire.mutable_model() = ToProto(atlas.description());
  wire.set_reference_version(atlas.reference()->id);
  wire.set_version_count(static_cast<int32_t>(atlas.Versions().size()));
  return wire;
}

v1::Version ToProto(const Atlas& atlas, const AtlasVersion& version, bool with_genes) {
  v1::Version wire;
  wire.set_name(VersionNameOf(atlas.name(), version.id));
  wire.set_id(version.id);
  wire.set_parent(version.parent_id);
  AppendAll(version.new_batches, wire.mutable_new_batches());
  AppendAll(version.model->description().batches.categories, wire.mutable_batches());
  if (with_genes) {
    AppendAll(version.model->description().genes, wire.mutable_genes());
    AppendAll(version.model->description().proteins, wire.mutable_proteins());
  }
  wire.set_extension_kind(version.extension_kind);
  AppendAll(version.full_delta_reasons, wire.mutable_full_delta_reasons());
  wire.set_extension_bytes(version.extension_bytes);
  *wire.mutable_create_time() = ToTimestamp(version.create_time);
  wire.set_max_abs_probe_shift(version.max_abs_probe_shift);
  AppendAll(version.lineage, wire.mutable_lineage());
  return wire;
}

v1::Upload ToProto(const UploadState& state) {
  v1::Upload wire;
  wire.set_name(UploadName(state.id));
  wire.set_version(VersionNameOf(state.atlas, state.version_id));
  wire.set_cells(state.cells);
  wire.set_cells_received(state.cells_received);
  wire.set_next_part(state.next_part);
  wire.set_complete(state.complete);
  return wire;
}

v1::Progress ToProto(const MappingProgress& progress) {
  v1::Progress wire;
  wire.set_stage(progress.stage);
  for (const BatchProgress& batch : progress.batches) {
    v1::BatchProgress* row = wire.add_batches();
    row->set_batch(batch.batch);
    row->set_epoch(batch.epoch);
    row->set_max_epochs(batch.max_epochs);
    row->set_loss(batch.loss);
    row->set_done(batch.done);
  }
  wire.set_eta_seconds(progress.eta_seconds);
  return wire;
}

v1::MappingReport ToProto(const std::string& atlas, const MappingResult& result) {
  const MappingReport& report = result.report;
  v1::MappingReport wire;
  wire.set_version(VersionNameOf(atlas, report.version_id));
  wire.set_version_id(report.version_id);
  wire.set_parent(report.parent_id);
  wire.set_strategy(report.strategy);
  wire.set_preset(report.preset);
  wire.set_seed(report.seed);
  for (const BatchReport& batch : report.batches) *wire.add_batches() = ToProto(batch);
  *wire.mutable_genes() = ToProto(report.genes);
  if (report.proteins.has_value()) *wire.mutable_proteins() = ToProto(*report.proteins);
  wire.set_elbo(report.elbo);
  wire.set_max_abs_probe_shift(report.max_abs_probe_shift);
  wire.set_extension_kind(report.extension_kind);
  wire.set_extension_bytes(report.extension_bytes);
  wire.set_instruction_set(report.instruction_set);
  wire.mutable_seconds()->insert(report.seconds.begin(), report.seconds.end());
  AppendAll(report.notes, wire.mutable_notes());
  AppendAll(result.labels, wire.mutable_labels());
  wire.set_n_latent(result.n_latent);
  wire.set_cells(result.cells);
  return wire;
}

v1::Error ToProto(const absl::Status& status) {
  constexpr size_t kMaxText = 4096;
  v1::Error wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(
      ClipUtf8(std::string_view(status.message().data(), status.message().size()), kMaxText));
  if (const std::optional<FieldViolation> violation = GetFieldViolation(status)) {
    wire.set_field(ClipUtf8(violation->field, kMaxText));
    wire.set_found(ClipUtf8(violation->found, kMaxText));
    wire.set_remedy(ClipUtf8(violation->remedy, kMaxText));
  }
  return wire;
}

absl::StatusOr<v1::Mapping> MappingFromJob(const JobRecord& job, bool with_report) {
  v1::CreateMappingRequest request;
  v1::Mapping wire;
  const bool parsed = request.ParseFromString(job.spec) &&
                      wire.mutable_progress()->ParseFromString(job.progress) &&
                      (!with_report || job.state != JobState::kSucceeded ||
                       wire.mutable_report()->ParseFromString(job.result));
  if (!parsed)
    return absl::InternalError(absl::StrCat("the record of job ", job.id, " is damaged"));
  wire.set_name(MappingName(job.id));
  wire.set_version(request.version());
  wire.set_upload(request.upload());
  *wire.mutable_options() = request.options();
  wire.set_state(ToProto(job.state));
  if (job.state == JobState::kQueued) wire.mutable_progress()->set_stage("queued");
  if (job.progress.empty()) wire.mutable_progress()->set_eta_seconds(-1);
  if (job.state == JobState::kFailed) *wire.mutable_error() = ToProto(job.error);
  *wire.mutable_create_time() = ToTimestamp(job.create_time);
  if (IsFinal(job.state)) *wire.mutable_end_time() = ToTimestamp(job.end_time);
  return wire;
}

v1::EmbeddingBlock RowsToProto(const MappingResult& result, int64_t first, int64_t cells) {
  const int64_t n_labels = static_cast<int64_t>(result.labels.size());
  v1::EmbeddingBlock wire;
  wire.set_first_cell(first);
  wire.set_cells(cells);
  wire.set_n_latent(result.n_latent);
  wire.set_latent(Bytes(result.latent.data() + first * result.n_latent,
                        cells * result.n_latent * sizeof(float)));
  wire.set_n_labels(n_labels);
  if (n_labels > 0) {
    wire.set_probabilities(
        Bytes(result.probabilities.data() + first * n_labels, cells * n_labels * sizeof(float)));
    wire.set_label_codes(Bytes(result.label_codes.data() + first, cells * sizeof(int32_t)));
  }
  return wire;
}

int64_t RowBytes(int64_t n_latent, int64_t n_labels) {
  return 4 * (n_latent + n_labels + (n_labels > 0 ? 1 : 0));
}

}  // namespace portolan::server
