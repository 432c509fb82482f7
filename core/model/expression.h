#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/cancellation.h"
#include "core/matrix/cell_inputs.h"
#include "core/model/model.h"
#include "core/model/noise.h"

namespace portolan {

/// What to compute of cells: scvi-tools' get_normalized_expression() and, of TOTALVI,
/// get_protein_foreground_probability().
struct ExpressionOptions {
  std::vector<int32_t> genes;     ///< which, by the model's order; none: no gene values
  std::vector<int32_t> proteins;  ///< likewise
  /// Batches to decode the cells as, averaged over; unset: each cell as its own. A batch that has
  /// measured a protein gives the values of cells whose batch has not.
  std::optional<std::vector<int32_t>> transform_batches;
  int samples = 1;  ///< draws of latent and background, averaged over
  /// No draws: the latent's mean and the background's median. `samples` does not count.
  bool deterministic = false;
  /// Genes: share of a cell's counts times this; unset: times the cell's own library size.
  std::optional<double> library_size = 1.0;
  bool foreground = false;     ///< probabilities of foreground, too
  bool scale_protein = false;  ///< a cell's proteins sum to one
  bool include_protein_background = false;
};

/// Row-major results for a block of cells.
struct ExpressionBlock {
  int64_t cells = 0;
  std::vector<float> genes;       ///< cells x options.genes
  std::vector<float> proteins;    ///< cells x options.proteins
  std::vector<float> foreground;  ///< cells x options.proteins, if asked for
};

/// InvalidField ("genes", "proteins", "transform_batch", "samples", "library_size") for what the
/// model does not have; kUnimplemented ("outputs") for models with extra covariates, a size factor,
/// embedded batches or a logistic-normal latent.
absl::Status CheckExpressionOptions(const Model& model, const ExpressionOptions& options);

/// Denoised expression of cells, in eval mode. Row i depends on cell i and its numbers in `noise`
/// alone (kExpressionNoise, kExpressionBackground), bit for bit; so a server may ask block by
/// block. Foreground probabilities and protein values belong to the same draws. One fault of
/// scvi-tools is not repeated: `library_size` applies once however many batches are averaged over.
/// Errors as CheckExpressionOptions; kCancelled; kInternal for a failure inside torch.
absl::StatusOr<ExpressionBlock> Express(const Model& model, const CellInputs& cells,
                                        const ExpressionOptions& options, NoiseSource& noise,
                                        const CancelToken& cancel);

}  // namespace portolan
