#include "core/mapping/plan.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/surgery/scvi_layout.h"
#include "core/surgery/training_session.h"

namespace portolan {
namespace {

constexpr double kFewGenes = 0.8;

TrainOptions OptionsFor(const Model& model, const MappingOptions& chosen, int64_t cells) {
  TrainOptions options = PresetOptions(chosen.preset, cells, model.description().model_class);
  options.seed = chosen.seed;
  options.precision = chosen.precision;
  options.max_epochs = chosen.epochs.value_or(options.max_epochs);
  options.minibatch = chosen.minibatch.value_or(options.minibatch);
  options.adam.learning_rate = chosen.learning_rate.value_or(options.adam.learning_rate);
  options.adam.weight_decay = chosen.weight_decay.value_or(options.adam.weight_decay);
  FreezeFlags& freeze = options.freeze;
  freeze.unfrozen = chosen.unfrozen.value_or(freeze.unfrozen);
  freeze.freeze_dropout = chosen.freeze_dropout.value_or(freeze.freeze_dropout);
  freeze.freeze_expression = chosen.freeze_expression.value_or(freeze.freeze_expression);
  freeze.freeze_decoder_first_layer =
      chosen.freeze_decoder_first_layer.value_or(freeze.freeze_decoder_first_layer);
  freeze.freeze_batchnorm_encoder =
      chosen.freeze_batchnorm_encoder.value_or(freeze.freeze_batchnorm_encoder);
  freeze.freeze_batchnorm_decoder =
      chosen.freeze_batchnorm_decoder.value_or(freeze.freeze_batchnorm_decoder);
  freeze.freeze_classifier = chosen.freeze_classifier.value_or(freeze.freeze_classifier);
  freeze.scvi_columns = chosen.compat_scvi;
  return options;
}

// Rows of each batch, in order of cell names.
std::map<std::string, std::vector<int64_t>> RowsByBatch(const Query& query) {
  std::map<std::string, std::vector<int64_t>> rows;
  for (int64_t row = 0; row < query.counts.rows(); ++row) {
    rows[query.batches[query.batch_codes[row]]].push_back(row);
  }
  for (auto& [batch, list] : rows) {
    std::sort(list.begin(), list.end(),
              [&](int64_t a, int64_t b) { return query.cell_names[a] < query.cell_names[b]; });
  }
  return rows;
}

void NoteModel(const Model& model, const Query& query, std::vector<std::string>& notes) {
  const ModelDescription& d = model.description();
  const Architecture& a = d.architecture;
  if (static_cast<double>(query.genes.matched) <
      kFewGenes * static_cast<double>(query.genes.reference_genes)) {
    notes.push_back(absl::StrCat("only ", query.genes.matched, " of the reference's ",
                                 query.genes.reference_genes,
                                 " genes are in the query; the rest count as zero, which lowers "
                                 "the quality of latents and labels"));
  }
  if (!model.has_batch_key()) return;
  if (!a.encode_covariates) {
    notes.push_back(
        "the reference's encoder does not see the batch (encode_covariates=False): "
        "surgery adapts the decoder only and cannot move a latent");
  } else if (a.batch_norm.encoder) {
    notes.push_back(
        "the reference's encoder normalises by minibatch: in a run over one batch its "
        "column gets no gradient and stays near its start");
  }
  if (a.dispersion == Dispersion::kGeneBatch) {
    notes.push_back(
        "dispersion is per batch: new batches take the mean of the reference's, since "
        "surgery does not train it");
  }
}

// What becomes of labels that came with the cells.
void NoteLabels(const Model& model, const Query& query, std::vector<std::string>& notes) {
  const auto& labels = query.annotations.labels;
  if (model.description().model_class != ModelClass::kScanvi || labels.empty()) return;
  const auto labelled =
      std::count_if(labels.begin(), labels.end(), [](int32_t l) { return l >= 0; });
  notes.push_back(absl::StrCat(labelled, " of ", labels.size(),
                               " cells came with a label: in batches with two or more of them the "
                               "classification loss trains along"));
}

// Where scvi-tools would put the columns elsewhere.
void NoteColumns(const Model& model, bool compat_scvi, std::vector<std::string>& notes) {
  if (!MovesColumns(model)) return;
  notes.push_back(
      compat_scvi
          ? "compat=scvi: columns of new batches stand behind all others, as load_query_data "
            "leaves "
            "them, which changes the meaning of known columns"
          : "columns of new batches stand beside the known ones, and known columns keep their "
            "values; load_query_data of scvi-tools misplaces them (compat=scvi reproduces that)");
}

}  // namespace

std::vector<int64_t> CanonicalRows(const Query& query) {
  std::vector<int64_t> order;
  for (const auto& [batch, rows] : RowsByBatch(query)) {
    order.insert(order.end(), rows.begin(), rows.end());
  }
  return order;
}

TrainingCells CellsOf(const Query& query, const std::vector<int64_t>& rows,
                      const std::vector<std::string>& batches) {
  TrainingCells cells;
  cells.counts = query.counts.SelectRows(rows);
  cells.annotations = query.annotations.SelectRows(rows);
  cells.proteins = query.proteins.SelectRows(rows);
  cells.batches = batches;
  std::vector<int32_t> code_of;  // by the query's code
  for (const std::string& batch : query.batches) {
    code_of.push_back(
        static_cast<int32_t>(std::find(batches.begin(), batches.end(), batch) - batches.begin()));
  }
  for (const int64_t row : rows) {
    cells.batch_codes.push_back(code_of[query.batch_codes[row]]);
    cells.cell_ids.push_back(StableHash64(query.cell_names[row]));
  }
  if (query.proteins.measured.empty()) return cells;
  // The masks, too, by the run's own batches.
  const int64_t width = query.proteins.n_proteins;
  cells.proteins.measured.assign(batches.size() * width, 0);
  for (size_t code = 0; code < code_of.size(); ++code) {
    if (code_of[code] == static_cast<int32_t>(batches.size())) continue;
    std::copy_n(query.proteins.measured.begin() + static_cast<int64_t>(code) * width, width,
                cells.proteins.measured.begin() + code_of[code] * width);
  }
  return cells;
}

absl::StatusOr<MappingPlan> PlanMapping(const Model& model, const Query& query,
                                        const MappingOptions& options) {
  MappingPlan plan;
  plan.strategy = options.strategy;
  NoteModel(model, query, plan.notes);
  NoteLabels(model, query, plan.notes);
  PlannedRun joint{.name = "all batches", .batches = {}, .rows = {}, .options = {}};
  for (auto& [batch, rows] : RowsByBatch(query)) {
    if (!model.has_batch_key() || model.BatchCode(batch) >= 0) {
      plan.known_batches.push_back(batch);
      continue;
    }
    if (rows.size() < 2) {
      return InvalidField("batch_key", absl::StrCat("batch '", batch, "' has one cell"),
                          "Leave the cell out or merge the batch with another");
    }
    if (options.strategy == Strategy::kJoint) {
      joint.batches.push_back(batch);
      joint.rows.insert(joint.rows.end(), rows.begin(), rows.end());
    } else {
      plan.runs.push_back({batch, {batch}, rows, OptionsFor(model, options, rows.size())});
    }
  }
  if (!joint.batches.empty()) {
    joint.options = OptionsFor(model, options, static_cast<int64_t>(joint.rows.size()));
    plan.runs.push_back(std::move(joint));
  }
  if (!model.has_batch_key()) {
    plan.notes.push_back(
        "the reference was set up without a batch key: all cells go through it as "
        "they are and there is nothing to train");
  } else if (!plan.known_batches.empty()) {
    plan.notes.push_back(absl::StrCat("the version already knows ",
                                      absl::StrJoin(plan.known_batches, ", "),
                                      ": embedded as such, not trained; rename a batch that is "
                                      "another one of the same name"));
  }
  if (plan.runs.empty()) return plan;
  NoteColumns(model, options.compat_scvi, plan.notes);
  const TrainOptions& first = plan.runs[0].options;
  const auto reasons = FullDeltaReasons(model, first.freeze, first.adam);
  if (!reasons.empty()) {
    plan.notes.push_back(absl::StrCat("new columns are not all that changes (",
                                      absl::StrJoin(reasons, "; "),
                                      "), so the extension is a full delta"));
    if (plan.strategy == Strategy::kIndependent && plan.runs.size() > 1) {
      plan.strategy = Strategy::kChain;
      plan.notes.push_back(
          "full deltas of separate runs cannot be put together: the batches were "
          "trained one after the other (chain)");
    }
  }
  return plan;
}

}  // namespace portolan
