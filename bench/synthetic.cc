#include "bench/synthetic.h"

#include <cmath>
#include <string>
#include <vector>

#include "bench/tensor_builder.h"
#include "core/base/philox.h"

namespace portolan {
SavedModel SyntheticModel(const SyntheticShape& s) {
  SavedModel model;
  ModelDescription& d = model.description;
  d.model_class = s.model_class;
  d.scvi_version = "1.4.2";
  d.batches.original_key = "batch";
  for (int64_t i = 0; i < s.batches; ++i) d.batches.categories.push_back(std::to_string(i));
  for (int64_t i = 0; i < s.genes; ++i) d.genes.push_back("gene" + std::to_string(i));
  Architecture& a = d.architecture;
  a.n_genes = s.genes;
  a.n_batch = s.batches;
  a.n_hidden = s.hidden;
  a.n_latent = s.latent;
  a.n_layers = s.layers;
  a.gene_likelihood = s.likelihood;
  a.encode_covariates = true;
  a.deeply_inject_covariates = s.deep;
  a.batch_norm = {false, false};
  a.layer_norm = {true, true};
  TensorBuilder build(model);
  build.Uniform("px_r", {s.genes}, 1.0f);
  build.Gaussian("z_encoder", "encoder", s.genes, s.hidden, s.layers, s.batches, s.deep, s.latent);
  // Saved with every model, read by none with an observed library.
  build.Gaussian("l_encoder", "encoder", s.genes, s.hidden, 1, s.batches, s.deep, 1);
  build.Stack("decoder.px_decoder", s.latent, s.hidden, s.layers, s.batches, s.deep);
  build.Linear("decoder.px_scale_decoder.0", s.genes, s.hidden);
  build.Linear("decoder.px_r_decoder", s.genes, s.hidden);  // saved, but read by none
  build.Linear("decoder.px_dropout_decoder", s.genes, s.hidden);
  if (s.model_class == ModelClass::kScanvi) {
    a.n_labels = s.labels;
    a.classifier_layers = s.layers;
    a.classifier_hidden = s.hidden;
    for (int64_t i = 0; i < s.labels; ++i) d.labels.categories.push_back(std::to_string(i));
    build.Stack("classifier.classifier.0", s.latent, s.hidden, s.layers, 0, false);
    build.Linear("classifier.classifier.1", s.labels, s.hidden);
    build.Gaussian("encoder_z2_z1", "encoder", s.latent, s.hidden, s.layers, s.labels, true,
                   s.latent);
    build.Gaussian("decoder_z1_z2", "decoder", s.latent, s.hidden, s.layers, s.labels, true,
                   s.latent);
    model.tensors["y_prior"] =
        HostTensor::FromFloats({1, s.labels}, std::vector<float>(s.labels, 1.0f));
  }
  return model;
}

CsrMatrix SyntheticCounts(int64_t first_cell, int64_t cells, int64_t genes, double density) {
  CsrMatrix counts;
  counts.cols = genes;
  const uint64_t key = RandomKey(0, "cells");
  std::vector<float> draws(2 * genes);
  for (int64_t cell = first_cell; cell < first_cell + cells; ++cell) {
    FillUniform(key, RandomUse::kProbe, 0, cell, draws);
    for (int64_t gene = 0; gene < genes; ++gene) {
      if (draws[2 * gene] >= density) continue;
      counts.columns.push_back(static_cast<int32_t>(gene));
      counts.values.push_back(std::floor(1 - 3 * std::log(1 - draws[2 * gene + 1])));
    }
    counts.row_offsets.push_back(counts.nonzeros());
  }
  return counts;
}

TrainingCells SyntheticCells(int64_t cells, int64_t genes, double density) {
  TrainingCells out;
  out.batches = {"new batch"};
  out.counts = SyntheticCounts(0, cells, genes, density);
  out.batch_codes.assign(cells, 0);
  for (int64_t cell = 0; cell < cells; ++cell) {
    out.cell_ids.push_back(StableHash64(std::to_string(cell)));
  }
  return out;
}

}  // namespace portolan
