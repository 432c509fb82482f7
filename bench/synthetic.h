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

/// SCANVI as large as the Human Lung Cell Atlas' reference.
inline constexpr SyntheticShape kHlcaShape = {
    .model_class = ModelClass::kScanvi, .batches = 160, .deep = false};

SavedModel SyntheticModel(const SyntheticShape& shape);

/// Counts of the cells from `first_cell` on, with this share of non-zeros; each is the same in
/// whatever block it is made.
CsrMatrix SyntheticCounts(int64_t first_cell, int64_t cells, int64_t genes, double density);

/// Cells of one new batch with this share of non-zero counts.
TrainingCells SyntheticCells(int64_t cells, int64_t genes, double density);

}  // namespace portolan
