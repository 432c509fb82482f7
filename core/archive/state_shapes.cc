#include "core/archive/state_shapes.h"

#include <array>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

/// Where the same thing stands in the two families of state dicts.
struct Names {
  std::string encoder;     // FC stack
  std::string mean;        // Linear to the latent space
  std::string scale_bias;  // one entry per gene
  std::string decoder = "decoder.px_decoder";
};

Names NamesOf(ModelClass model_class) {
  if (model_class == ModelClass::kTotalvi) {
    return {"encoder.encoder", "encoder.z_mean_encoder",
            "decoder.px_scale_decoder.fc_layers.Layer 0.0.bias"};
  }
  return {"z_encoder.encoder", "z_encoder.mean_encoder", "decoder.px_scale_decoder.0.bias"};
}

std::string Slot(const std::string& stack, int64_t layer, int slot, std::string_view tensor) {
  return absl::StrCat(stack, ".fc_layers.Layer ", layer, ".", slot, ".", Absl(tensor));
}

class Facts {
 public:
  explicit Facts(const StateDict& tensors) : tensors_(tensors) {}

  bool Has(const std::string& key) const { return tensors_.count(key) != 0; }

  /// Reads the shape of `key`, which must have `rank` dimensions.
  absl::StatusOr<std::vector<int64_t>> Shape(const std::string& key, size_t rank) const {
    const auto found = tensors_.find(key);
    if (found == tensors_.end()) {
      return ArchiveError(absl::StrCat("the tensor ", Absl(Quoted(key)), " is missing"),
                          "Save the model again with scvi-tools");
    }
    const std::vector<int64_t>& shape = found->second.shape();
    if (shape.size() != rank || found->second.elements() == 0) {
      return ArchiveError(absl::StrCat(Absl(Quoted(key)), " has shape ", ShapeString(shape),
                                       ", not ", rank, " dimensions of at least 1"));
    }
    return shape;
  }

  /// REQUIRES: Has(key).
  const std::vector<int64_t>& AnyShape(const std::string& key) const {
    return tensors_.at(key).shape();
  }

  int64_t Layers(const std::string& stack) const {
    int64_t layers = 0;
    while (Has(Slot(stack, layers, 0, "weight"))) ++layers;
    return layers;
  }

  bool HasBatchNorm(const std::string& stack) const {
    return Has(Slot(stack, 0, 1, "running_mean"));
  }

 private:
  const StateDict& tensors_;
};

absl::Status InferClassifier(const Facts& facts, StateShapes& shapes) {
  const std::string first = "classifier.classifier.0";
  shapes.linear_classifier = facts.Has(first + ".weight");
  const std::string last = shapes.linear_classifier ? first : "classifier.classifier.1";
  PORTOLAN_ASSIGN_OR_RETURN(const auto weight, facts.Shape(last + ".weight", 2));
  shapes.n_labels = weight[0];
  shapes.classifier_layers = facts.Layers(first);
  shapes.classifier_hidden = shapes.linear_classifier ? 0 : weight[1];
  return absl::OkStatus();
}

absl::Status InferProteins(const Facts& facts, StateShapes& shapes) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto background, facts.Shape("background_pro_alpha", 2));
  shapes.n_proteins = background[0];
  shapes.background_columns = background[1];
  shapes.efficiency = facts.Has("log_per_batch_efficiency");
  if (facts.Has("py_r")) shapes.py_r = facts.AnyShape("py_r");
  return absl::OkStatus();
}

/// The tensors that a forward pass needs, checked one by one.
class Layout {
 public:
  Layout(const ModelDescription& description, const StateShapes& shapes, const StateDict& tensors)
      : description_(description),
        a_(description.architecture),
        shapes_(shapes),
        tensors_(tensors) {
    covariates_ = !a_.batch_embedding && a_.n_batch > 1 ? a_.n_batch : 0;
    for (const int64_t categories : a_.n_cats_per_cov) covariates_ += Columns(categories);
    beside_ = a_.n_continuous_covs + shapes.batch_embedding;
  }

  absl::Status Check() {
    if (description_.model_class == ModelClass::kTotalvi) {
      Totalvi();
    } else {
      Scvi();
      if (description_.model_class == ModelClass::kScanvi) Scanvi();
    }
    if (status_.ok()) RefuseOthers();
    return status_;
  }

 private:
  static int64_t Columns(int64_t categories) { return categories > 1 ? categories : 0; }

  void Expect(const std::string& key, const std::vector<int64_t>& shape) {
    if (!status_.ok()) return;
    expected_.insert(key);
    const auto found = tensors_.find(key);
    if (found == tensors_.end()) {
      status_ = ArchiveError(absl::StrCat("the tensor ", Absl(Quoted(key)), " is missing"),
                             "Save the model again with scvi-tools");
    } else if (found->second.shape() != shape || found->second.dtype() != DType::kFloat32) {
      const bool integer = found->second.dtype() != DType::kFloat32;
      status_ = ArchiveError(
          absl::StrCat(Absl(Quoted(key)), " has shape ", ShapeString(found->second.shape()),
                       integer ? " of integers" : "", " where the registry and init_params_ (",
                       a_.n_genes, " genes, ", a_.n_batch, " batches, ", a_.n_labels, " labels, ",
                       a_.n_hidden, " hidden, ", a_.n_latent, " latent) call for ",
                       ShapeString(shape)),
          "Save the model again; its tensors and its registry are of two models");
    }
  }

  /// A tensor that nothing reads means that the model is another than described: a norm whose
  /// statistics are missing, one more network.
  void RefuseOthers() {
    for (const auto& [key, tensor] : tensors_) {
      if (expected_.count(key) != 0 || absl::EndsWith(key, ".num_batches_tracked")) continue;
      status_ = ArchiveError(
          absl::StrCat("the tensor ", Absl(Quoted(key)), " belongs to no network of a ",
                       Absl(ModelClassName(description_.model_class)),
                       " model with this registry and init_params_"),
          "Save the model again with scvi-tools");
      return;
    }
  }

  void Linear(const std::string& prefix, int64_t out, int64_t in) {
    Expect(prefix + ".weight", {out, in});
    Expect(prefix + ".bias", {out});
  }

  void Stack(const std::string& prefix, int64_t in, int64_t out, int64_t layers, int64_t covariates,
             bool inject, bool batch_norm) {
    for (int64_t i = 0; i < layers && status_.ok(); ++i) {
      const int64_t injected = i == 0 || inject ? covariates : 0;
      Expect(Slot(prefix, i, 0, "weight"), {out, (i == 0 ? in : out) + injected});
      Expect(Slot(prefix, i, 0, "bias"), {out});
      if (!batch_norm) continue;
      for (const char* tensor : {"weight", "bias", "running_mean", "running_var"}) {
        Expect(Slot(prefix, i, 1, tensor), {out});
      }
    }
  }

  void Dispersion(const std::string& key, int64_t rows, portolan::Dispersion dispersion) {
    if (dispersion == Dispersion::kGene) Expect(key, {rows});
    if (dispersion == Dispersion::kGeneBatch) Expect(key, {rows, a_.n_batch});
    if (dispersion == Dispersion::kGeneLabel) Expect(key, {rows, a_.n_labels});
  }

  void Library() {
    if (a_.use_observed_lib_size) return;
    Expect("library_log_means", {1, a_.n_batch});
    Expect("library_log_vars", {1, a_.n_batch});
  }

  void Scvi() {
    const int64_t in = a_.n_genes + (a_.encode_covariates ? beside_ : 0);
    const int64_t covariates = a_.encode_covariates ? covariates_ : 0;
    for (const bool latent : {true, false}) {
      const std::string prefix = latent ? "z_encoder" : "l_encoder";
      const int64_t out = latent ? a_.n_latent : 1;
      Stack(prefix + ".encoder", in, a_.n_hidden, latent ? a_.n_layers : 1, covariates,
            a_.deeply_inject_covariates, a_.batch_norm.encoder);
      Linear(prefix + ".mean_encoder", out, a_.n_hidden);
      Linear(prefix + ".var_encoder", out, a_.n_hidden);
    }
    Stack("decoder.px_decoder", a_.n_latent + beside_, a_.n_hidden, a_.n_layers, covariates_,
          a_.deeply_inject_covariates, a_.batch_norm.decoder);
    Linear("decoder.px_scale_decoder.0", a_.n_genes, a_.n_hidden);
    Linear("decoder.px_r_decoder", a_.n_genes, a_.n_hidden);
    Linear("decoder.px_dropout_decoder", a_.n_genes, a_.n_hidden);
    Dispersion("px_r", a_.n_genes, a_.dispersion);
    Library();
    if (a_.batch_embedding) {
      Expect("_embeddings_dict.batch.weight", {a_.n_batch, shapes_.batch_embedding});
    }
  }

  void Scanvi() {
    Expect("y_prior", {1, a_.n_labels});
    const std::string classifier = "classifier.classifier.";
    if (a_.linear_classifier) {
      Linear(classifier + "0", a_.n_labels, a_.n_latent);
    } else {
      Stack(classifier + "0", a_.n_latent, a_.classifier_hidden, a_.classifier_layers, 0, false,
            a_.batch_norm.encoder);
      Linear(classifier + "1", a_.n_labels, a_.classifier_hidden);
    }
    const int64_t labels = Columns(a_.n_labels);
    Stack("encoder_z2_z1.encoder", a_.n_latent, a_.n_hidden, a_.n_layers, labels, true,
          a_.batch_norm.encoder);
    Linear("encoder_z2_z1.mean_encoder", a_.n_latent, a_.n_hidden);
    Linear("encoder_z2_z1.var_encoder", a_.n_latent, a_.n_hidden);
    Stack("decoder_z1_z2.decoder", a_.n_latent, a_.n_hidden, a_.n_layers, labels, true,
          a_.batch_norm.decoder);
    Linear("decoder_z1_z2.mean_decoder", a_.n_latent, a_.n_hidden);
    Linear("decoder_z1_z2.var_decoder", a_.n_latent, a_.n_hidden);
  }

  void Totalvi() {
    const int64_t proteins = a_.proteins->n_proteins;
    const int64_t in = a_.n_genes + proteins + (a_.encode_covariates ? a_.n_continuous_covs : 0);
    const int64_t covariates = a_.encode_covariates ? covariates_ : 0;
    Stack("encoder.encoder", in, a_.n_hidden, a_.n_layers, covariates, true, a_.batch_norm.encoder);
    Linear("encoder.z_mean_encoder", a_.n_latent, a_.n_hidden);
    Linear("encoder.z_var_encoder", a_.n_latent, a_.n_hidden);
    Stack("encoder.l_gene_encoder", in, a_.n_hidden, 1, covariates, true, a_.batch_norm.encoder);
    Linear("encoder.l_gene_mean_encoder", 1, a_.n_hidden);
    Linear("encoder.l_gene_var_encoder", 1, a_.n_hidden);
    const int64_t z = a_.n_latent + a_.n_continuous_covs;
    for (const char* body :
         {"px_decoder", "py_back_decoder", "py_fore_decoder", "sigmoid_decoder"}) {
      Stack(absl::StrCat("decoder.", body), z, a_.n_hidden, a_.proteins->n_layers_decoder,
            covariates_, true, a_.batch_norm.decoder);
    }
    for (const char* head : {"px_scale_decoder", "px_dropout_decoder_gene"}) {
      Head(head, a_.n_genes, a_.n_hidden + z);
    }
    for (const char* head : {"py_back_mean_log_alpha", "py_back_mean_log_beta",
                             "py_fore_scale_decoder", "py_background_decoder"}) {
      Head(head, proteins, a_.n_hidden + z);
    }
    Dispersion("px_r", a_.n_genes, a_.dispersion);
    Expect("background_pro_alpha", {proteins, shapes_.background_columns});
    Expect("background_pro_log_beta", {proteins, shapes_.background_columns});
    if (a_.proteins->has_efficiency) {
      Expect("log_per_batch_efficiency", {proteins, a_.n_batch});
    }
    Expect("py_r", shapes_.py_r.empty() ? std::vector<int64_t>{proteins} : shapes_.py_r);
    Library();
  }

  void Head(const char* name, int64_t out, int64_t in) {
    Stack(absl::StrCat("decoder.", name), in, out, 1, covariates_, true, false);
  }

  const ModelDescription& description_;
  const Architecture& a_;
  const StateShapes& shapes_;
  const StateDict& tensors_;
  int64_t covariates_ = 0;  // one-hot columns
  int64_t beside_ = 0;      // continuous columns and the embedded batch
  std::set<std::string> expected_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<ModelClass> InferModelClass(const StateDict& tensors) {
  const auto has = [&tensors](const char* key) { return tensors.count(key) != 0; };
  if (has("background_pro_alpha") && has("encoder.z_mean_encoder.bias")) {
    return ModelClass::kTotalvi;
  }
  if (has("z_encoder.mean_encoder.bias") && has("l_encoder.mean_encoder.bias") &&
      has("decoder.px_scale_decoder.0.bias")) {
    return has("y_prior") && has("encoder_z2_z1.mean_encoder.bias") ? ModelClass::kScanvi
                                                                    : ModelClass::kScvi;
  }
  return FieldError(absl::StatusCode::kUnimplemented, "model.pt",
                    "neither a class name nor the tensors of a known class",
                    "Save a model of class SCVI, SCANVI or TOTALVI");
}

absl::StatusOr<StateShapes> InferShapes(ModelClass model_class, const StateDict& tensors) {
  const Facts facts(tensors);
  const Names names = NamesOf(model_class);
  StateShapes shapes;
  PORTOLAN_ASSIGN_OR_RETURN(const auto genes, facts.Shape(names.scale_bias, 1));
  PORTOLAN_ASSIGN_OR_RETURN(const auto latent, facts.Shape(names.mean + ".bias", 1));
  PORTOLAN_ASSIGN_OR_RETURN(const auto encoder,
                            facts.Shape(Slot(names.encoder, 0, 0, "weight"), 2));
  PORTOLAN_ASSIGN_OR_RETURN(const auto decoder,
                            facts.Shape(Slot(names.decoder, 0, 0, "weight"), 2));
  shapes.n_genes = genes[0];
  shapes.n_latent = latent[0];
  shapes.n_hidden = encoder[0];
  shapes.encoder_inputs = encoder[1];
  shapes.decoder_inputs = decoder[1];
  shapes.n_layers = facts.Layers(names.encoder);
  shapes.decoder_layers = facts.Layers(names.decoder);
  if (shapes.n_layers > 1) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto later,
                              facts.Shape(Slot(names.encoder, 1, 0, "weight"), 2));
    shapes.encoder_later = later[1];
  }
  if (shapes.decoder_layers > 1) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto later,
                              facts.Shape(Slot(names.decoder, 1, 0, "weight"), 2));
    shapes.decoder_later = later[1];
  }
  shapes.batch_norm = {facts.HasBatchNorm(names.encoder), facts.HasBatchNorm(names.decoder)};
  if (const auto px_r = tensors.find("px_r"); px_r != tensors.end()) {
    shapes.px_r = px_r->second.shape();
  }
  shapes.latent_library = facts.Has("library_log_means");
  if (facts.Has("_embeddings_dict.batch.weight")) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto embedding,
                              facts.Shape("_embeddings_dict.batch.weight", 2));
    shapes.embedded_batches = embedding[0];
    shapes.batch_embedding = embedding[1];
  }
  if (model_class == ModelClass::kScanvi) PORTOLAN_RETURN_IF_ERROR(InferClassifier(facts, shapes));
  if (model_class == ModelClass::kTotalvi) PORTOLAN_RETURN_IF_ERROR(InferProteins(facts, shapes));
  return shapes;
}

absl::Status CheckState(const ModelDescription& description, const StateShapes& shapes,
                        const StateDict& tensors) {
  return Layout(description, shapes, tensors).Check();
}

}  // namespace portolan
