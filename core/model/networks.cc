#include "core/model/networks.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

/// Takes tensors out of a saved model, checking shapes.
class Loader {
 public:
  explicit Loader(const SavedModel& saved) : saved_(saved) {}

  bool Has(const std::string& key) const { return saved_.tensors.contains(key); }

  /// The tensor of this shape; -1 in `shape` matches any extent.
  absl::StatusOr<at::Tensor> Get(const std::string& key, std::vector<int64_t> shape) const {
    const auto it = saved_.tensors.find(key);
    if (it == saved_.tensors.end()) {
      return InvalidField("model.pt", absl::StrCat("tensor '", key, "' is missing"),
                          "Save the model again with scvi-tools' save()");
    }
    const HostTensor& host = it->second;
    bool fits = host.dtype() == DType::kFloat32 && host.shape().size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) {
      fits = shape[i] < 0 || shape[i] == host.shape()[i];
    }
    if (!fits) {
      return InvalidField(
          "model.pt",
          absl::StrCat("tensor '", key, "' has shape ", ShapeString(host.shape()),
                       " where the model's description asks for ", ShapeString(shape)),
          "The file is damaged or was edited; save the model again with scvi-tools' save()");
    }
    return ToTensor(host);
  }

  absl::StatusOr<Linear> GetLinear(const std::string& key, int64_t out, int64_t in) const {
    Linear linear;
    PORTOLAN_ASSIGN_OR_RETURN(linear.weight, Get(key + ".weight", {out, in}));
    PORTOLAN_ASSIGN_OR_RETURN(linear.bias, Get(key + ".bias", {out}));
    return linear;
  }

  absl::StatusOr<BatchNorm> GetBatchNorm(const std::string& key, int64_t width) const {
    BatchNorm norm;
    PORTOLAN_ASSIGN_OR_RETURN(norm.weight, Get(key + ".weight", {width}));
    PORTOLAN_ASSIGN_OR_RETURN(norm.bias, Get(key + ".bias", {width}));
    PORTOLAN_ASSIGN_OR_RETURN(norm.running_mean, Get(key + ".running_mean", {width}));
    PORTOLAN_ASSIGN_OR_RETURN(norm.running_var, Get(key + ".running_var", {width}));
    return norm;
  }

  struct StackShape {
    int64_t in = 0;
    int64_t hidden = 0;
    int64_t layers = 0;
    Covariate covariate = Covariate::kNone;
    int64_t categories = 0;  ///< columns injected; a single category has none
    bool deep = true;        ///< inject into layers beyond the first
    bool batch_norm = false;
    bool layer_norm = false;
    double dropout = 0;
  };

  absl::StatusOr<FcStack> GetStack(const std::string& path, const StackShape& shape) const {
    FcStack stack;
    stack.path = path;
    stack.covariate = shape.covariate;
    stack.layer_norm = shape.layer_norm;
    stack.dropout = shape.dropout;
    for (int64_t i = 0; i < shape.layers; ++i) {
      const std::string key = absl::StrCat(path, ".fc_layers.Layer ", i, ".");
      const int64_t in = i == 0 ? shape.in : shape.hidden;
      const bool injected = shape.covariate != Covariate::kNone && (i == 0 || shape.deep);
      // A covariate with one category has no columns in the file.
      const int64_t stored = injected && shape.categories > 1 ? shape.categories : 0;
      FcLayer layer;
      PORTOLAN_ASSIGN_OR_RETURN(Linear linear,
                                GetLinear(absl::StrCat(key, "0"), shape.hidden, in + stored));
      layer.weight = linear.weight.slice(1, 0, in).contiguous();
      layer.bias = linear.bias;
      if (stored > 0) {
        layer.columns = linear.weight.slice(1, in).t().contiguous();
      } else if (injected && shape.covariate == Covariate::kBatch) {
        // The one batch of such a reference contributes nothing; extensions append to this.
        layer.columns = at::zeros({1, shape.hidden});
      }
      if (shape.batch_norm) {
        PORTOLAN_ASSIGN_OR_RETURN(layer.batch_norm,
                                  GetBatchNorm(absl::StrCat(key, "1"), shape.hidden));
      }
      stack.layers.push_back(std::move(layer));
    }
    return stack;
  }

  absl::StatusOr<GaussianNetwork> GetGaussian(const std::string& path, const std::string& role,
                                              const StackShape& shape, int64_t out) const {
    GaussianNetwork network;
    network.path = path;
    network.mean_name = absl::StrCat("mean_", role);
    network.var_name = absl::StrCat("var_", role);
    network.var_epsilon = role == "encoder" ? 1e-4 : 0.0;
    PORTOLAN_ASSIGN_OR_RETURN(network.stack, GetStack(absl::StrCat(path, ".", role), shape));
    PORTOLAN_ASSIGN_OR_RETURN(
        network.mean, GetLinear(absl::StrCat(path, ".", network.mean_name), out, shape.hidden));
    PORTOLAN_ASSIGN_OR_RETURN(
        network.var, GetLinear(absl::StrCat(path, ".", network.var_name), out, shape.hidden));
    return network;
  }

 private:
  const SavedModel& saved_;
};

absl::Status NotServedYet(const std::string& what) {
  return FieldError(absl::StatusCode::kUnimplemented, "model", what,
                    "This variant is not served; a reference without it can be hosted");
}

absl::Status CheckServed(const ModelDescription& d) {
  const Architecture& a = d.architecture;
  if (d.model_class == ModelClass::kTotalvi) return NotServedYet("class TOTALVI");
  if (!a.n_cats_per_cov.empty()) return NotServedYet("extra categorical covariates");
  if (a.n_continuous_covs > 0) return NotServedYet("extra continuous covariates");
  if (a.has_size_factor) return NotServedYet("a size factor");
  if (a.batch_embedding) return NotServedYet("batch_representation='embedding'");
  if (a.latent_distribution != LatentDistribution::kNormal) {
    return NotServedYet("latent_distribution='ln'");
  }
  if (a.gene_likelihood == GeneLikelihood::kNormal) return NotServedYet("gene_likelihood='normal'");
  if (a.dispersion != Dispersion::kGene && a.dispersion != Dispersion::kGeneBatch) {
    return NotServedYet(
        absl::StrCat("dispersion='", std::string(DispersionName(a.dispersion)), "'"));
  }
  return absl::OkStatus();
}

absl::Status LoadLibraryPrior(const Loader& loader, ModelNetworks& n) {
  const int64_t batches = n.architecture.n_batch;
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor means, loader.Get("library_log_means", {1, batches}));
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor vars, loader.Get("library_log_vars", {1, batches}));
  n.library_log_means = means.t().contiguous();
  n.library_log_vars = vars.t().contiguous();
  return absl::OkStatus();
}

absl::Status LoadLabelNetworks(const Loader& loader, ModelNetworks& n) {
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
  Loader::StackShape shape{.in = a.n_latent,
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

void AddStack(FcStack& stack, std::vector<TensorRef>& refs) {
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    FcLayer& layer = stack.layers[i];
    const std::string key = absl::StrCat(stack.path, ".fc_layers.Layer ", i, ".");
    refs.push_back({key + "0.weight", TensorRole::kWeight, &layer.weight});
    if (stack.covariate == Covariate::kBatch && layer.columns.defined()) {
      refs.push_back(
          {key + "0.weight", TensorRole::kBatchColumns, &layer.columns, layer.weight.size(1)});
    }
    refs.push_back({key + "0.bias", TensorRole::kBias, &layer.bias});
    if (layer.batch_norm.has_value()) {
      refs.push_back({key + "1.weight", TensorRole::kNormAffine, &layer.batch_norm->weight});
      refs.push_back({key + "1.bias", TensorRole::kNormAffine, &layer.batch_norm->bias});
      refs.push_back(
          {key + "1.running_mean", TensorRole::kNormStatistic, &layer.batch_norm->running_mean});
      refs.push_back(
          {key + "1.running_var", TensorRole::kNormStatistic, &layer.batch_norm->running_var});
    }
  }
}

void AddLinear(const std::string& key, Linear& linear, std::vector<TensorRef>& refs) {
  refs.push_back({key + ".weight", TensorRole::kWeight, &linear.weight});
  refs.push_back({key + ".bias", TensorRole::kBias, &linear.bias});
}

void AddGaussian(GaussianNetwork& network, std::vector<TensorRef>& refs) {
  AddStack(network.stack, refs);
  AddLinear(absl::StrCat(network.path, ".", network.mean_name), network.mean, refs);
  AddLinear(absl::StrCat(network.path, ".", network.var_name), network.var, refs);
}

}  // namespace

absl::StatusOr<ModelNetworks> BuildNetworks(const SavedModel& saved) {
  PORTOLAN_RETURN_IF_ERROR(CheckServed(saved.description));
  const Loader loader(saved);
  ModelNetworks n;
  n.architecture = saved.description.architecture;
  n.extensible = !saved.description.batches.original_key.empty();
  const Architecture& a = n.architecture;
  n.n_reference_batches = a.n_batch;

  Loader::StackShape encoder{.in = a.n_genes,
                             .hidden = a.n_hidden,
                             .layers = a.n_layers,
                             .covariate = Covariate::kNone,
                             .categories = a.n_batch,
                             .deep = a.deeply_inject_covariates,
                             .batch_norm = a.batch_norm.encoder,
                             .layer_norm = a.layer_norm.encoder,
                             .dropout = a.dropout_rate};
  if (a.encode_covariates && n.extensible) encoder.covariate = Covariate::kBatch;
  PORTOLAN_ASSIGN_OR_RETURN(n.z_encoder,
                            loader.GetGaussian("z_encoder", "encoder", encoder, a.n_latent));
  if (!a.use_observed_lib_size) {
    encoder.layers = 1;
    PORTOLAN_ASSIGN_OR_RETURN(n.l_encoder, loader.GetGaussian("l_encoder", "encoder", encoder, 1));
    PORTOLAN_RETURN_IF_ERROR(LoadLibraryPrior(loader, n));
  }
  Loader::StackShape decoder{.in = a.n_latent,
                             .hidden = a.n_hidden,
                             .layers = a.n_layers,
                             .covariate = Covariate::kNone,
                             .categories = a.n_batch,
                             .deep = a.deeply_inject_covariates,
                             .batch_norm = a.batch_norm.decoder,
                             .layer_norm = a.layer_norm.decoder};
  if (n.extensible) decoder.covariate = Covariate::kBatch;
  PORTOLAN_ASSIGN_OR_RETURN(n.px_decoder, loader.GetStack("decoder.px_decoder", decoder));
  PORTOLAN_ASSIGN_OR_RETURN(n.px_scale,
                            loader.GetLinear("decoder.px_scale_decoder.0", a.n_genes, a.n_hidden));
  if (a.gene_likelihood == GeneLikelihood::kZinb) {
    PORTOLAN_ASSIGN_OR_RETURN(
        n.px_dropout, loader.GetLinear("decoder.px_dropout_decoder", a.n_genes, a.n_hidden));
  }
  if (a.dispersion == Dispersion::kGeneBatch) {
    PORTOLAN_ASSIGN_OR_RETURN(at::Tensor px_r, loader.Get("px_r", {a.n_genes, a.n_batch}));
    n.px_r = px_r.t().contiguous();
  } else {
    PORTOLAN_ASSIGN_OR_RETURN(n.px_r, loader.Get("px_r", {a.n_genes}));
  }
  if (saved.description.model_class == ModelClass::kScanvi) {
    PORTOLAN_RETURN_IF_ERROR(LoadLabelNetworks(loader, n));
  }
  RefreshDerived(n);
  return n;
}

std::vector<TensorRef> Tensors(ModelNetworks& n) {
  std::vector<TensorRef> refs;
  const bool per_batch = n.architecture.dispersion == Dispersion::kGeneBatch;
  refs.push_back({"px_r", per_batch ? TensorRole::kBatchColumns : TensorRole::kOther, &n.px_r});
  if (n.l_encoder.has_value()) {
    refs.push_back({"library_log_means", TensorRole::kBatchColumns, &n.library_log_means});
    refs.push_back({"library_log_vars", TensorRole::kBatchColumns, &n.library_log_vars});
  }
  AddGaussian(n.z_encoder, refs);
  if (n.l_encoder.has_value()) AddGaussian(*n.l_encoder, refs);
  AddStack(n.px_decoder, refs);
  AddLinear("decoder.px_scale_decoder.0", n.px_scale, refs);
  if (n.px_dropout.weight.defined()) AddLinear("decoder.px_dropout_decoder", n.px_dropout, refs);
  if (n.labels.has_value()) {
    AddStack(n.labels->classifier.stack, refs);
    AddLinear(n.labels->classifier.output_key, n.labels->classifier.output, refs);
    AddGaussian(n.labels->encoder_z2_z1, refs);
    AddGaussian(n.labels->decoder_z1_z2, refs);
  }
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
  return stacks;
}

void RefreshDerived(ModelNetworks& networks) {
  networks.first_weight_t = networks.z_encoder.stack.layers[0].weight.detach().t().contiguous();
}

at::Tensor ToTensor(const HostTensor& host) {
  at::Tensor tensor = at::empty(host.shape(), at::kFloat);
  if (host.size_bytes() > 0) {
    std::memcpy(tensor.data_ptr<float>(), host.data(), host.size_bytes());
  }
  return tensor;
}

HostTensor ToHost(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().to(at::kFloat).contiguous();
  return HostTensor::FromFloats(dense.sizes().vec(),
                                {dense.data_ptr<float>(), static_cast<size_t>(dense.numel())});
}

}  // namespace portolan
