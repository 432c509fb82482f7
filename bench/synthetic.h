#pragma once

#include <cstdint>

#include "core/archive/saved_model.h"
#include "core/matrix/csr_matrix.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// Shape of a model with random weights, made for surgery: encoded covariates, layer norm
/// everywhere, no batch norm.
struct SyntheticShape {
  ModelClass model_class = ModelClass::kScvi;
  GeneLikelihood likelihood = GeneLikelihood::kNb;
  int64_t genes = 2000;
  int64_t hidden = 128;
  int64_t layers = 2;
  int64_t latent = 30;
  int64_t batches = 14;
  int64_t labels = 29;  ///< SCANVI
  bool deep = true;     ///< deeply_inject_covariates
};

SavedModel SyntheticModel(const SyntheticShape& shape);

/// Cells of one new batch with this share of non-zero counts.
TrainingCells SyntheticCells(int64_t cells, int64_t genes, double density);

}  // namespace portolan
