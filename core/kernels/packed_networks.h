#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/kernels/aligned_buffer.h"
#include "core/kernels/likelihood.h"
#include "core/kernels/packed_matrix.h"
#include "core/kernels/proteins.h"

namespace portolan {

/// The frozen networks of a model as the kernels want them. Immutable, shared by all threads.
///
/// What a category contributes to a layer stands in a table of columns, (categories, width)
/// row-major without padding; batch columns belong to whoever extends the model, label columns to
/// the networks.

/// Linear -> [batch norm in eval mode] -> [layer norm] -> ReLU.
struct PackedLayer {
  int64_t width = 0;
  PackedMatrix weight;         ///< empty in the first encoder layer, which SparseRow computes
  AlignedBuffer<float> scale;  ///< batch norm; empty without
  AlignedBuffer<float> shift;
  std::vector<float> label_columns;  ///< empty without
  std::string batch_columns_key;     ///< state-dict key of its batch columns; empty without
};

struct PackedStack {
  std::vector<PackedLayer> layers;
  bool layer_norm = false;
};

/// A stack, then means and logarithms of variances side by side.
struct PackedGaussian {
  PackedStack stack;
  PackedMatrix heads;
  float var_epsilon = 0;
};

/// SCANVI's part.
struct PackedLabels {
  int64_t labels = 0;
  PackedStack classifier;  ///< no layers if linear
  PackedMatrix classes;
  PackedGaussian encoder_z2;  ///< of (z1, label)
  PackedGaussian decoder_z1;  ///< of (z2, label)
  std::vector<float> log_prior;
};

/// `width` outputs of a branch's heads from `at` on, which is the start of a panel.
struct PackedHead {
  int64_t at = 0;
  int64_t width = 0;
  std::string batch_columns_key;  ///< empty without
};

/// An FC stack on z, then heads on [its output | z].
struct PackedBranch {
  PackedStack body;
  PackedMatrix heads;
  std::vector<PackedHead> parts;
};

/// TOTALVI's part; its decoder is here whole.
struct PackedProteins {
  int64_t proteins = 0;
  BackgroundScale scale = BackgroundScale::kSoftplusFloor;
  /// scvi-tools since 1.3.1: the encoder sees counts divided by 1 + their mean over the cell, the
  /// KL weight applies to the protein reconstruction, too, and there is log_per_batch_efficiency.
  bool cell_mean = true;
  PackedBranch genes;        ///< scale, with -1e30 in the padding
  PackedBranch back;         ///< mean of the log background, its scale
  PackedBranch fore;         ///< foreground factor
  PackedBranch mix;          ///< for ZINB the genes' dropout; mixing
  std::vector<float> theta;  ///< dispersion per protein; empty where every batch has its own
};

struct PackedNetworks {
  int64_t genes = 0;
  int64_t latent = 0;
  bool log1p_counts = true;
  /// (genes, width of the first encoder layer); TOTALVI: (genes + proteins, the same)
  std::vector<float> first_weight_t;
  std::vector<float> first_bias;
  PackedGaussian encoder;
  PackedStack decoder;  ///< not of TOTALVI
  /// Scale head with -1e30 in the padding; for ZINB the dropout head behind it. Not of TOTALVI.
  PackedMatrix gene_heads;
  CountLikelihood likelihood = CountLikelihood::kNb;
  std::vector<float> theta;  ///< dispersion per gene; empty where every batch has its own
  std::optional<PackedLabels> labels;
  std::optional<PackedProteins> proteins;

  int64_t first_width() const { return encoder.stack.layers[0].width; }
};

/// For every layer of a stack a table of columns, or null where the layer has none.
using ColumnTables = std::vector<const float*>;

inline bool AnyColumns(const ColumnTables& tables) {
  return std::any_of(tables.begin(), tables.end(), [](const float* t) { return t != nullptr; });
}

}  // namespace portolan
