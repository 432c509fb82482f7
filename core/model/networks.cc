#include "core/model/networks.h"

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/network_loader.h"
#include "core/model/pass.h"

namespace portolan {
namespace {

absl::Status NotServedYet(const std::string& what) {
  return FieldError(absl::StatusCode::kUnimplemented, "model", what,
                    "This variant is not served; a reference without it can be hosted");
}

absl::Status CheckServed(const ModelDescription& d) {
  if (d.model_class != ModelClass::kTotalvi) return absl::OkStatus();
  const Architecture& a = d.architecture;
  if (!a.n_cats_per_cov.empty()) return NotServedYet("TOTALVI with extra categorical covariates");
  if (a.n_continuous_covs > 0) return NotServedYet("TOTALVI with extra continuous covariates");
  if (a.has_size_factor) return NotServedYet("TOTALVI with a size factor");
  if (a.batch_embedding) return NotServedYet("TOTALVI with batch_representation='embedding'");
  if (a.latent_distribution != LatentDistribution::kNormal) {
    return NotServedYet("TOTALVI with latent_distribution='ln'");
  }
  return CheckTotalviServed(d);
}

absl::Status LoadLibraryPrior(const NetworkLoader& loader, ModelNetworks& n) {
  const int64_t batches = n.architecture.n_batch;
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor means, loader.Get("library_log_means", {1, batches}));
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor vars, loader.Get("library_log_vars", {1, batches}));
  n.library_log_means = means.t().contiguous();
  n.library_log_vars = vars.t().contiguous();
  return absl::OkStatus();
}

absl::Status LoadDispersion(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  if (a.dispersion == Dispersion::kGeneCell) {
    PORTOLAN_ASSIGN_OR_RETURN(n.px_r_decoder,
                              loader.GetLinear("decoder.px_r_decoder", a.n_genes, a.n_hidden));
    return absl::OkStatus();
  }
  if (a.dispersion == Dispersion::kGene) {
    PORTOLAN_ASSIGN_OR_RETURN(n.px_r, loader.Get("px_r", {a.n_genes}));
    return absl::OkStatus();
  }
  const int64_t groups = a.dispersion == Dispersion::kGeneBatch ? a.n_batch : a.n_labels;
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor px_r, loader.Get("px_r", {a.n_genes, groups}));
  n.px_r = px_r.t().contiguous();
  return absl::OkStatus();
}

// What the first layers that see covariates have in common.
absl::StatusOr<StackShape> CovariateShape(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  StackShape shape{.hidden = a.n_hidden,
                   .layers = a.n_layers,
                   .covariate = n.extensible ? Covariate::kBatch : Covariate::kNone,
                   .categories = a.n_batch,
                   .extra_categories = a.n_cats_per_cov,
                   .extra_inputs = a.n_continuous_covs,
                   .deep = a.deeply_inject_covariates};
  if (!a.batch_embedding) return shape;
  PORTOLAN_ASSIGN_OR_RETURN(n.batch_embedding, loader.Get(kBatchEmbeddingKey, {a.n_batch, -1}));
  shape.covariate = Covariate::kNone;
  shape.extra_inputs += n.batch_embedding.size(1);
  return shape;
}

absl::Status LoadLabelNetworks(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  LabelNetworks& labels = n.labels.emplace();
  Classifier& classifier = labels.classifier;
  if (a.linear_classifier) {
    classifier.output_key = "classifier.classifier.0";
    classifier.stack.path = classifier.output_key;
    PORTOLAN_ASSIGN_OR_RETURN(classifier.output,
                              loader.GetLinear(classifier.output_key, a.n_labels, a.n_latent));
  } else {
    classifier.output_key = "classifier.classifier.1";
    PORTOLAN_ASSIGN_OR_RETURN(classifier.stack, loader.GetStack("classifier.classifier.0",
                                                                {.in = a.n_latent,
                                                                 .hidden = a.classifier_hidden,
                                                                 .layers = a.classifier_layers,
                                                                 .batch_norm = a.batch_norm.encoder,
                                                                 .layer_norm = a.layer_norm.encoder,
                                                                 .dropout = a.classifier_dropout}));
    PORTOLAN_ASSIGN_OR_RETURN(classifier.output, loader.GetLinear(classifier.output_key, a.n_labels,
                                                                  a.classifier_hidden));
  }
  StackShape shape{.in = a.n_latent,
                   .hidden = a.n_hidden,
                   .layers = a.n_layers,
                   .covariate = Covariate::kLabel,
                   .categories = a.n_labels};
  shape.batch_norm = a.batch_norm.encoder;
  shape.layer_norm = a.layer_norm.encoder;
  shape.dropout = a.dropout_rate;
  PORTOLAN_ASSIGN_OR_RETURN(labels.encoder_z2_z1,
                            loader.GetGaussian("encoder_z2_z1", "encoder", shape, a.n_latent));
  shape.batch_norm = a.batch_norm.decoder;
  shape.layer_norm = a.layer_norm.decoder;
  shape.dropout = 0;
  PORTOLAN_ASSIGN_OR_RETURN(labels.decoder_z1_z2,
                            loader.GetGaussian("decoder_z1_z2", "decoder", shape, a.n_latent));
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor prior, loader.Get("y_prior", {1, a.n_labels}));
  labels.y_prior = prior.reshape({a.n_labels}) / prior.sum();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelNetworks> BuildNetworks(const SavedModel& saved) {
  PORTOLAN_RETURN_IF_ERROR(CheckServed(saved.description));
  const NetworkLoader loader(saved);
  ModelNetworks n;
  n.architecture = saved.description.architecture;
  n.extensible = !saved.description.batches.original_key.empty();
  const Architecture& a = n.architecture;
  n.n_reference_batches = a.n_batch;
  if (saved.description.model_class == ModelClass::kTotalvi) {
    PORTOLAN_RETURN_IF_ERROR(LoadTotalvi(saved, n));
    RefreshDerived(n);
    return n;
  }

  PORTOLAN_ASSIGN_OR_RETURN(StackShape decoder, CovariateShape(loader, n));
  StackShape encoder = decoder;
  if (!a.encode_covariates) encoder = {.hidden = a.n_hidden, .layers = a.n_layers};
  encoder.in = a.n_genes;
  encoder.batch_norm = a.batch_norm.encoder;
  encoder.layer_norm = a.layer_norm.encoder;
  encoder.dropout = a.dropout_rate;
  PORTOLAN_ASSIGN_OR_RETURN(n.z_encoder,
                            loader.GetGaussian("z_encoder", "encoder", encoder, a.n_latent));
  if (!a.use_observed_lib_size) {
    encoder.layers = 1;
    PORTOLAN_ASSIGN_OR_RETURN(n.l_encoder, loader.GetGaussian("l_encoder", "encoder", encoder, 1));
    PORTOLAN_RETURN_IF_ERROR(LoadLibraryPrior(loader, n));
  }
  decoder.in = a.n_latent;
  decoder.batch_norm = a.batch_norm.decoder;
  decoder.layer_norm = a.layer_norm.decoder;
  PORTOLAN_ASSIGN_OR_RETURN(n.px_decoder, loader.GetStack("decoder.px_decoder", decoder));
  PORTOLAN_ASSIGN_OR_RETURN(n.px_scale,
                            loader.GetLinear("decoder.px_scale_decoder.0", a.n_genes, a.n_hidden));
  if (a.gene_likelihood == GeneLikelihood::kZinb) {
    PORTOLAN_ASSIGN_OR_RETURN(
        n.px_dropout, loader.GetLinear("decoder.px_dropout_decoder", a.n_genes, a.n_hidden));
  }
  PORTOLAN_RETURN_IF_ERROR(LoadDispersion(loader, n));
  if (saved.description.model_class == ModelClass::kScanvi) {
    PORTOLAN_RETURN_IF_ERROR(LoadLabelNetworks(loader, n));
  }
  RefreshDerived(n);
  return n;
}

std::vector<TensorRef> Tensors(ModelNetworks& n) {
  std::vector<TensorRef> refs;
  if (n.px_r.defined()) {
    const Dispersion dispersion = n.architecture.dispersion;
    refs.push_back({.key = "px_r",
                    .role = dispersion == Dispersion::kGeneBatch ? TensorRole::kBatchColumns
                                                                 : TensorRole::kOther,
                    .tensor = &n.px_r,
                    .transposed = dispersion != Dispersion::kGene});
  }
  const auto per_batch = [&](const char* key, at::Tensor& tensor, bool transposed) {
    refs.push_back({.key = key,
                    .role = TensorRole::kBatchColumns,
                    .tensor = &tensor,
                    .transposed = transposed});
  };
  if (n.batch_embedding.defined()) per_batch(kBatchEmbeddingKey, n.batch_embedding, false);
  if (n.l_encoder.has_value()) {
    per_batch("library_log_means", n.library_log_means, true);
    per_batch("library_log_vars", n.library_log_vars, true);
  }
  AddGaussian(n.z_encoder, refs);
  if (n.l_encoder.has_value()) AddGaussian(*n.l_encoder, refs);
  AddStack(n.px_decoder, refs);
  if (n.px_scale.weight.defined()) AddLinear("decoder.px_scale_decoder.0", n.px_scale, refs);
  if (n.px_dropout.weight.defined()) AddLinear("decoder.px_dropout_decoder", n.px_dropout, refs);
  if (n.px_r_decoder.weight.defined()) AddLinear("decoder.px_r_decoder", n.px_r_decoder, refs);
  if (n.labels.has_value()) {
    AddStack(n.labels->classifier.stack, refs);
    AddLinear(n.labels->classifier.output_key, n.labels->classifier.output, refs);
    AddGaussian(n.labels->encoder_z2_z1, refs);
    AddGaussian(n.labels->decoder_z1_z2, refs);
  }
  if (n.proteins.has_value()) AddProteins(*n.proteins, refs);
  return refs;
}

std::vector<FcStack*> Stacks(ModelNetworks& n) {
  std::vector<FcStack*> stacks = {&n.z_encoder.stack, &n.px_decoder};
  if (n.l_encoder.has_value()) stacks.push_back(&n.l_encoder->stack);
  if (n.labels.has_value()) {
    stacks.push_back(&n.labels->classifier.stack);
    stacks.push_back(&n.labels->encoder_z2_z1.stack);
    stacks.push_back(&n.labels->decoder_z1_z2.stack);
  }
  if (n.proteins.has_value()) AddProteinStacks(*n.proteins, stacks);
  return stacks;
}

void RefreshDerived(ModelNetworks& networks) {
  networks.first_weight_t = InputWeight(networks.z_encoder.stack).detach().t().contiguous();
}

}  // namespace portolan
