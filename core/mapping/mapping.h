#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/atlas/atlas.h"
#include "core/base/cancellation.h"
#include "core/base/executor.h"
#include "core/matrix/cell_inputs.h"
#include "core/matrix/gene_alignment.h"
#include "core/matrix/protein_panel.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/options.h"

namespace portolan {

enum class Strategy { kIndependent, kJoint, kChain };
std::string_view StrategyName(Strategy strategy);

/// What a user may choose about a mapping; absent values come from the preset.
struct MappingOptions {
  Strategy strategy = Strategy::kIndependent;
  Preset preset = Preset::kScvi;
  std::optional<int> epochs;
  uint64_t seed = 0;
  std::optional<double> learning_rate;
  std::optional<double> weight_decay;
  std::optional<int> minibatch;
  std::optional<bool> unfrozen;
  std::optional<bool> freeze_dropout;
  std::optional<bool> freeze_expression;
  std::optional<bool> freeze_decoder_first_layer;
  std::optional<bool> freeze_batchnorm_encoder;
  std::optional<bool> freeze_batchnorm_decoder;
  std::optional<bool> freeze_classifier;
  /// Where scvi-tools' load_query_data is known to be wrong, do as it does.
  bool compat_scvi = false;
  Precision precision = Precision::kFloat32;
};

/// Query cells, aligned to the reference's genes. Immutable while a mapping runs.
struct Query {
  CsrMatrix counts;                     ///< cells x reference genes
  std::vector<std::string> cell_names;  ///< unique
  std::vector<std::string> batches;     ///< names, in any order
  std::vector<int32_t> batch_codes;     ///< per cell, into `batches`
  CellAnnotations annotations;
  ProteinCounts proteins;  ///< `measured` by `batches`
  GeneReport genes;
  std::optional<ProteinReport> protein_report;  ///< set if the cells brought proteins
};

/// Checks shapes, codes, unique cell names, counts, a batch with one cell; typed errors.
absl::Status ValidateQuery(const Query& query, int64_t reference_genes);

struct BatchReport {
  std::string batch;
  int64_t cells = 0;
  bool trained = false;
  int epochs = 0;
  int64_t steps = 0;
  std::vector<double> train_loss;       ///< per epoch, per cell
  std::vector<double> validation_elbo;  ///< per epoch, where the preset validates
  double elbo = 0;                      ///< after training, per cell, as get_elbo() gives it
  std::string stop_reason;              ///< "epochs", "early stopping", "known batch"
  double seconds = 0;
};

struct MappingReport {
  std::string version_id;
  std::string parent_id;
  std::string strategy;
  std::string preset;
  uint64_t seed = 0;
  std::vector<BatchReport> batches;
  GeneReport genes;
  std::optional<ProteinReport> proteins;  ///< set if the cells brought proteins
  double elbo = 0;                        ///< cell-weighted mean over batches; higher is better
  double max_abs_probe_shift = 0;         ///< max |dz| of the reference probe
  std::string extension_kind;             ///< "adapter", "full delta", "none"
  int64_t extension_bytes = 0;
  std::string instruction_set;
  std::map<std::string, double> seconds;
  std::vector<std::string> notes;
};

/// Rows in query order.
struct MappingResult {
  int64_t cells = 0;
  int64_t n_latent = 0;
  std::vector<float> latent;         ///< cells x n_latent
  std::vector<std::string> labels;   ///< SCANVI, in code order
  std::vector<float> probabilities;  ///< cells x labels
  std::vector<int32_t> label_codes;  ///< most probable label
  MappingReport report;
  std::shared_ptr<const AtlasVersion> version;  ///< the new one (or the parent: nothing to add)
};

struct BatchProgress {
  std::string batch;  ///< a batch's name, or "all batches" where they train jointly
  int epoch = 0;
  int max_epochs = 0;
  double loss = 0;
  bool done = false;
};

struct MappingProgress {
  std::string stage;  ///< "train", "embed", "report"
  std::vector<BatchProgress> batches;
  double eta_seconds = -1;
};

/// What a mapping gets from its surroundings.
struct MappingEnvironment {
  Executor* executor = nullptr;  ///< where batches train; not owned
  CancelToken cancel;
  std::function<void(const MappingProgress&)> on_progress;  ///< any worker; called serially
  std::function<void(const std::string&)> on_checkpoint;    ///< the same; every few seconds
  absl::Duration checkpoint_interval = absl::Seconds(5);
  std::string resume_from;  ///< a checkpoint, or empty
};

/// Align -> split -> train -> embed -> annotate -> report. Blocks the calling thread, which must
/// not be one of the executor's. The extension becomes a version of `parent`'s atlas through
/// `atlas`. Same query, parent, options give the same bits, whatever the executor, the order of
/// cells and batches, or a stop and resume in between.
absl::StatusOr<MappingResult> RunMapping(Atlas& atlas, std::shared_ptr<const AtlasVersion> parent,
                                         const Query& query, const MappingOptions& options,
                                         const MappingEnvironment& environment);

/// Cells of known batches through a version, without training; names of cells are not needed.
/// InvalidField("batch") names a batch that the version does not know. Row i depends on cell i
/// alone.
absl::StatusOr<MappingResult> EmbedCells(const AtlasVersion& version, const Query& query,
                                         const CancelToken& cancel);

}  // namespace portolan
