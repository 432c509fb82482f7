#include "core/model/totalvi_networks.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/networks.h"

namespace portolan {
namespace {

absl::Status NotServedYet(const std::string& what) {
  return FieldError(absl::StatusCode::kUnimplemented, "model", what,
                    "This variant is not served; a reference without it can be hosted");
}

absl::StatusOr<GaussianNetwork> LoadEncoder(const NetworkLoader& loader, const std::string& stack,
                                            const std::string& prefix, const StackShape& shape,
                                            int64_t out) {
  GaussianNetwork network;
  network.path = "encoder";
  network.mean_name = absl::StrCat(prefix, "_mean_encoder");
  network.var_name = absl::StrCat(prefix, "_var_encoder");
  PORTOLAN_ASSIGN_OR_RETURN(network.stack, loader.GetStack(absl::StrCat("encoder.", stack), shape));
  PORTOLAN_ASSIGN_OR_RETURN(
      network.mean,
      loader.GetLinear(absl::StrCat("encoder.", network.mean_name), out, shape.hidden));
  PORTOLAN_ASSIGN_OR_RETURN(
      network.var, loader.GetLinear(absl::StrCat("encoder.", network.var_name), out, shape.hidden));
  return network;
}

absl::Status LoadEncoders(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  StackShape shape{.in = a.n_genes + a.proteins->n_proteins,
                   .hidden = a.n_hidden,
                   .layers = a.n_layers,
                   .covariate = Covariate::kNone,
                   .categories = a.n_batch,
                   .batch_norm = a.batch_norm.encoder,
                   .layer_norm = a.layer_norm.encoder,
                   .dropout = a.dropout_rate};
  if (a.encode_covariates && n.extensible) shape.covariate = Covariate::kBatch;
  PORTOLAN_ASSIGN_OR_RETURN(n.z_encoder, LoadEncoder(loader, "encoder", "z", shape, a.n_latent));
  if (a.use_observed_lib_size) return absl::OkStatus();
  shape.layers = 1;
  PORTOLAN_ASSIGN_OR_RETURN(n.l_encoder, LoadEncoder(loader, "l_gene_encoder", "l_gene", shape, 1));
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor means, loader.Get("library_log_means", {1, a.n_batch}));
  PORTOLAN_ASSIGN_OR_RETURN(at::Tensor vars, loader.Get("library_log_vars", {1, a.n_batch}));
  n.library_log_means = means.t().contiguous();
  n.library_log_vars = vars.t().contiguous();
  return absl::OkStatus();
}

absl::Status LoadDecoder(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  ProteinNetworks& p = *n.proteins;
  StackShape body{.in = a.n_latent,
                  .hidden = a.n_hidden,
                  .layers = a.proteins->n_layers_decoder,
                  .covariate = n.extensible ? Covariate::kBatch : Covariate::kNone,
                  .categories = a.n_batch,
                  .batch_norm = a.batch_norm.decoder,
                  .layer_norm = a.layer_norm.decoder,
                  .dropout = a.proteins->dropout_decoder};
  for (const auto& [name, stack] :
       {std::pair{"px_decoder", &n.px_decoder}, std::pair{"py_back_decoder", &p.back_body},
        std::pair{"py_fore_decoder", &p.fore_body}, std::pair{"sigmoid_decoder", &p.mix_body}}) {
    PORTOLAN_ASSIGN_OR_RETURN(*stack, loader.GetStack(absl::StrCat("decoder.", name), body));
  }
  StackShape head{.in = a.n_hidden + a.n_latent,
                  .layers = 1,
                  .covariate = body.covariate,
                  .categories = a.n_batch};
  const auto load = [&](const char* name, int64_t out, FcStack& stack) -> absl::Status {
    head.hidden = out;
    PORTOLAN_ASSIGN_OR_RETURN(stack, loader.GetStack(absl::StrCat("decoder.", name), head));
    return absl::OkStatus();
  };
  const int64_t proteins = a.proteins->n_proteins;
  PORTOLAN_RETURN_IF_ERROR(load("px_scale_decoder", a.n_genes, p.gene_scale));
  PORTOLAN_RETURN_IF_ERROR(load("py_back_mean_log_alpha", proteins, p.back_mean));
  PORTOLAN_RETURN_IF_ERROR(load("py_back_mean_log_beta", proteins, p.back_std));
  PORTOLAN_RETURN_IF_ERROR(load("py_fore_scale_decoder", proteins, p.fore_scale));
  if (a.gene_likelihood == GeneLikelihood::kZinb) {
    PORTOLAN_RETURN_IF_ERROR(load("px_dropout_decoder_gene", a.n_genes, p.gene_dropout));
  }
  return load("py_background_decoder", proteins, p.mixing);
}

// (features, batches) in the file, one row per batch here.
absl::StatusOr<at::Tensor> LoadPerBatch(const NetworkLoader& loader, const std::string& key,
                                        int64_t features, int64_t batches) {
  PORTOLAN_ASSIGN_OR_RETURN(const at::Tensor tensor, loader.Get(key, {features, batches}));
  return tensor.t().contiguous();
}

absl::Status LoadPerProtein(const NetworkLoader& loader, ModelNetworks& n) {
  const Architecture& a = n.architecture;
  ProteinNetworks& p = *n.proteins;
  const int64_t proteins = a.proteins->n_proteins;
  PORTOLAN_ASSIGN_OR_RETURN(p.background_mean,
                            LoadPerBatch(loader, "background_pro_alpha", proteins, a.n_batch));
  PORTOLAN_ASSIGN_OR_RETURN(p.background_log_std,
                            LoadPerBatch(loader, "background_pro_log_beta", proteins, a.n_batch));
  if (a.proteins->variant == TotalviVariant::kCellMean) {
    PORTOLAN_ASSIGN_OR_RETURN(
        p.log_efficiency, LoadPerBatch(loader, "log_per_batch_efficiency", proteins, a.n_batch));
  }
  if (a.dispersion == Dispersion::kGeneBatch) {
    PORTOLAN_ASSIGN_OR_RETURN(n.px_r, LoadPerBatch(loader, "px_r", a.n_genes, a.n_batch));
  } else {
    PORTOLAN_ASSIGN_OR_RETURN(n.px_r, loader.Get("px_r", {a.n_genes}));
  }
  if (a.proteins->dispersion == ProteinDispersion::kProteinBatch) {
    PORTOLAN_ASSIGN_OR_RETURN(p.py_r, LoadPerBatch(loader, "py_r", proteins, a.n_batch));
  } else {
    PORTOLAN_ASSIGN_OR_RETURN(p.py_r, loader.Get("py_r", {proteins}));
  }
  return absl::OkStatus();
}

at::Tensor Measured(const ModelDescription& d) {
  const Architecture& a = d.architecture;
  at::Tensor measured = at::ones({a.n_batch, a.proteins->n_proteins}, at::kFloat);
  if (a.proteins->override_missing) return measured;
  for (size_t batch = 0; batch < d.protein_masks.size(); ++batch) {
    const std::vector<bool>& mask = d.protein_masks[batch];
    for (size_t protein = 0; protein < mask.size(); ++protein) {
      if (!mask[protein]) measured[batch][protein] = 0;
    }
  }
  return measured;
}

}  // namespace

absl::Status CheckTotalviServed(const ModelDescription& d) {
  const Architecture& a = d.architecture;
  if (!a.proteins.has_value() || a.proteins->n_proteins < 1) {
    return InvalidField("model.pt", "a TOTALVI model without proteins",
                        "Save the model again with scvi-tools' save()");
  }
  if (a.proteins->prior_per_panel) return NotServedYet("a panel key");
  if (a.dispersion == Dispersion::kGeneLabel || a.dispersion == Dispersion::kGeneCell) {
    return NotServedYet(
        absl::StrCat("gene_dispersion='", std::string(DispersionName(a.dispersion)), "'"));
  }
  if (a.proteins->dispersion == ProteinDispersion::kProteinLabel) {
    return NotServedYet("protein_dispersion='protein-label'");
  }
  if (a.gene_likelihood != GeneLikelihood::kNb && a.gene_likelihood != GeneLikelihood::kZinb) {
    return NotServedYet(
        absl::StrCat("gene_likelihood='", std::string(GeneLikelihoodName(a.gene_likelihood)), "'"));
  }
  return absl::OkStatus();
}

absl::Status LoadTotalvi(const SavedModel& saved, ModelNetworks& n) {
  const NetworkLoader loader(saved);
  n.proteins.emplace();
  PORTOLAN_RETURN_IF_ERROR(LoadEncoders(loader, n));
  PORTOLAN_RETURN_IF_ERROR(LoadDecoder(loader, n));
  PORTOLAN_RETURN_IF_ERROR(LoadPerProtein(loader, n));
  n.proteins->measured = Measured(saved.description);
  return absl::OkStatus();
}

void AddProteins(ProteinNetworks& p, std::vector<TensorRef>& refs) {
  refs.push_back({"background_pro_alpha", TensorRole::kBatchColumns, &p.background_mean});
  refs.push_back({"background_pro_log_beta", TensorRole::kBatchColumns, &p.background_log_std});
  if (p.log_efficiency.defined()) {
    refs.push_back({"log_per_batch_efficiency", TensorRole::kBatchColumns, &p.log_efficiency});
  }
  const bool per_batch = p.py_r.dim() == 2;
  refs.push_back({"py_r", per_batch ? TensorRole::kBatchColumns : TensorRole::kOther, &p.py_r});
  refs.push_back({kProteinMaskKey, TensorRole::kBatchColumns, &p.measured});
  std::vector<FcStack*> stacks;
  AddProteinStacks(p, stacks);
  for (FcStack* stack : stacks) AddStack(*stack, refs);
}

void AddProteinStacks(ProteinNetworks& p, std::vector<FcStack*>& stacks) {
  for (FcStack* stack : {&p.back_body, &p.fore_body, &p.mix_body, &p.gene_scale, &p.back_mean,
                         &p.back_std, &p.fore_scale, &p.gene_dropout, &p.mixing}) {
    if (!stack->layers.empty()) stacks.push_back(stack);
  }
}

}  // namespace portolan
