#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/matrix/csr_matrix.h"

namespace portolan {

/// What a model may read of a cell besides counts and batch. Codes are those of the model's
/// registries; what a model does not read is empty.
struct CellAnnotations {
  int64_t n_categorical = 0;         ///< extra categorical covariates, in the model's order
  int64_t n_continuous = 0;          ///< extra continuous covariates, in the model's order
  std::vector<int32_t> categorical;  ///< cells x n_categorical, codes
  std::vector<float> continuous;     ///< cells x n_continuous, as in obs
  std::vector<float> size_factors;   ///< per cell, as in obs
  std::vector<int32_t> labels;       ///< per cell; -1: unlabelled

  CellAnnotations SelectRows(std::span<const int64_t> rows) const;

  /// Adds the annotations of `cells` cells, read for the same model, to those of `before` cells.
  /// Labels may be missing on one side: its cells are unlabelled.
  void Append(const CellAnnotations& more, int64_t before, int64_t cells);
};

/// Protein counts over the reference's panel.
struct ProteinCounts {
  int64_t n_proteins = 0;     ///< 0: none came with the cells
  std::vector<float> values;  ///< cells x n_proteins; 0 where not measured
  /// Batches x n_proteins, by the owner's list of batches: 1 where the batch's panel has the
  /// protein. What is not measured is missing, not zero.
  std::vector<uint8_t> measured;

  /// The cells' values; `measured` stays with the owner.
  ProteinCounts SelectRows(std::span<const int64_t> rows) const;
};

/// `measured` of cells with these batch codes: as scvi-tools has it, a batch without a single count
/// of a protein did not measure it.
std::vector<uint8_t> MeasuredProteins(const ProteinCounts& proteins,
                                      std::span<const int32_t> batch_codes, size_t batches);

/// Cells on their way into a model; refers to what somebody else holds. Row i of each part is cell
/// i; `batch_codes` are codes of the model.
struct CellInputs {
  const CsrMatrix& counts;
  const std::vector<int32_t>& batch_codes;
  const CellAnnotations& annotations = kNoAnnotations;
  const ProteinCounts& proteins = kNoProteins;

  static const CellAnnotations kNoAnnotations;
  static const ProteinCounts kNoProteins;
};

}  // namespace portolan
