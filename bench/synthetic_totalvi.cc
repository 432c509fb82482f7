#include "bench/synthetic_totalvi.h"

#include <cmath>
#include <string>
#include <vector>

#include "bench/tensor_builder.h"
#include "core/base/philox.h"

namespace portolan {
namespace {

constexpr int64_t kGenes = 4000;
constexpr int64_t kProteins = 100;
constexpr int64_t kHidden = 256;
constexpr int64_t kLatent = 20;
constexpr int64_t kBatches = 2;

}  // namespace

SavedModel SyntheticTotalvi() {
  SavedModel model;
  ModelDescription& d = model.description;
  d.model_class = ModelClass::kTotalvi;
  d.scvi_version = "1.4.2";
  d.batches.original_key = "batch";
  for (int64_t i = 0; i < kBatches; ++i) d.batches.categories.push_back(std::to_string(i));
  for (int64_t i = 0; i < kGenes; ++i) d.genes.push_back("gene" + std::to_string(i));
  for (int64_t i = 0; i < kProteins; ++i) d.proteins.push_back("protein" + std::to_string(i));
  Architecture& a = d.architecture;
  a.n_genes = kGenes;
  a.n_batch = kBatches;
  a.n_hidden = kHidden;
  a.n_latent = kLatent;
  a.n_layers = 1;
  a.gene_likelihood = GeneLikelihood::kNb;
  a.encode_covariates = true;
  a.batch_norm = {false, false};
  a.layer_norm = {true, true};
  a.proteins = ProteinArchitecture{.n_proteins = kProteins, .n_priors = kBatches};
  TensorBuilder build(model);
  build.Uniform("px_r", {kGenes}, 1.0f);
  build.Uniform("py_r", {kProteins}, 1.0f);
  for (const char* key :
       {"background_pro_alpha", "background_pro_log_beta", "log_per_batch_efficiency"}) {
    build.Uniform(key, {kProteins, kBatches}, 1.0f);
  }
  build.Stack("encoder.encoder", kGenes + kProteins, kHidden, 1, kBatches, true);
  build.Linear("encoder.z_mean_encoder", kLatent, kHidden);
  build.Linear("encoder.z_var_encoder", kLatent, kHidden);
  for (const std::string body :
       {"px_decoder", "py_back_decoder", "py_fore_decoder", "sigmoid_decoder"}) {
    build.Stack("decoder." + body, kLatent, kHidden, 1, kBatches, true);
  }
  const auto head = [&](const std::string& name, int64_t width) {
    build.Stack("decoder." + name, kHidden + kLatent, width, 1, kBatches, true);
  };
  head("px_scale_decoder", kGenes);
  head("px_dropout_decoder_gene", kGenes);
  for (const char* name : {"py_back_mean_log_alpha", "py_back_mean_log_beta",
                           "py_fore_scale_decoder", "py_background_decoder"}) {
    head(name, kProteins);
  }
  return model;
}

TrainingCells SyntheticTotalviCells(int64_t cells) {
  TrainingCells out = SyntheticCells(cells, kGenes, 0.1);
  out.proteins.n_proteins = kProteins;
  out.proteins.measured.assign(kProteins, 1);
  std::vector<float> draws(kProteins);
  for (int64_t cell = 0; cell < cells; ++cell) {
    FillUniform(RandomKey(0, "proteins"), RandomUse::kProbe, 0, cell, draws);
    // A background of ten counts; one protein in five in the foreground.
    for (int64_t i = 0; i < kProteins; ++i) {
      const float mean = (cell + i) % 5 == 0 ? 200.0f : 10.0f;
      out.proteins.values.push_back(std::floor(-mean * std::log(1 - draws[i])));
    }
  }
  return out;
}

}  // namespace portolan
