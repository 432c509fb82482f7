#include "core/mapping/mapping.h"

#include <array>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/mapping/plan.h"
#include "core/mapping/result.h"
#include "core/mapping/run_set.h"
#include "core/mapping/score.h"
#include "core/model/annotations.h"

namespace portolan {
namespace {

/// Adds up the time of stages.
class Stopwatch {
 public:
  explicit Stopwatch(std::map<std::string, double>& seconds) : seconds_(seconds) {}
  void End(const std::string& stage) {
    const absl::Time now = absl::Now();
    seconds_[stage] += absl::ToDoubleSeconds(now - last_);
    last_ = now;
  }

 private:
  std::map<std::string, double>& seconds_;
  absl::Time last_ = absl::Now();
};

// Changes whenever what a cell brings beside its counts does.
uint64_t AnnotationBits(const CellAnnotations& a, int64_t row) {
  uint64_t bits = 0;
  const auto mix = [&](uint64_t value) { bits = bits * 0x9e3779b97f4a7c15u + value; };
  for (int64_t i = 0; i < a.n_categorical; ++i) mix(a.categorical[row * a.n_categorical + i]);
  for (int64_t i = 0; i < a.n_continuous; ++i) {
    mix(std::bit_cast<uint32_t>(a.continuous[row * a.n_continuous + i]));
  }
  if (!a.size_factors.empty()) mix(std::bit_cast<uint32_t>(a.size_factors[row]));
  if (!a.labels.empty()) mix(static_cast<uint32_t>(a.labels[row]) + 1);
  return bits;
}

// Identifies a mapping's inputs, so that a checkpoint is not continued with others.
std::string Fingerprint(const AtlasVersion& parent, const Query& query, const MappingPlan& plan) {
  std::string text = parent.id;
  for (const PlannedRun& run : plan.runs) {
    const TrainOptions& o = run.options;
    const FreezeFlags& f = o.freeze;
    absl::StrAppend(&text, "\n", run.name, " ", run.rows.size(), " ", o.seed, " ", o.max_epochs,
                    " ", o.minibatch, " ", std::bit_cast<uint64_t>(o.adam.learning_rate), " ",
                    std::bit_cast<uint64_t>(o.adam.weight_decay), " ", o.early_stopping.has_value(),
                    " ", f.unfrozen, f.freeze_dropout, f.freeze_expression,
                    f.freeze_decoder_first_layer, f.freeze_batchnorm_encoder,
                    f.freeze_batchnorm_decoder, f.freeze_classifier, f.scvi_columns);
    uint64_t cells = 0;
    for (const int64_t row : run.rows) {
      double total = 0;
      for (const float count : query.counts.row_values(row)) total += count;
      cells += StableHash64(query.cell_names[row]) ^ std::bit_cast<uint64_t>(total);
      cells += AnnotationBits(query.annotations, row);
    }
    absl::StrAppend(&text, " ", cells);
  }
  return Sha256Hex(text);
}

// The versions that the runs add: one for a set of adapters, one per run of a chain.
absl::StatusOr<std::shared_ptr<const AtlasVersion>> AddVersions(
    Atlas& atlas, std::shared_ptr<const AtlasVersion> version, const MappingPlan& plan,
    const std::vector<FinishedRun>& runs) {
  if (runs.empty()) return version;
  if (plan.strategy == Strategy::kChain || runs.size() == 1) {
    for (const FinishedRun& run : runs) {
      PORTOLAN_ASSIGN_OR_RETURN(version, atlas.Add(version, run.result.extension));
    }
    return version;
  }
  std::vector<Extension> adapters;
  for (const FinishedRun& run : runs) adapters.push_back(run.result.extension);
  return atlas.Add(version, Compose(adapters));
}

std::vector<BatchReport> ReportBatches(const MappingPlan& plan,
                                       const std::vector<FinishedRun>& runs,
                                       const std::map<std::string, BatchElbo>& elbo) {
  std::map<std::string, BatchReport> reports;
  for (const std::string& batch : plan.known_batches) reports[batch].stop_reason = "known batch";
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const std::string& batch : plan.runs[i].batches) {
      const TrainResult& result = runs[i].result;
      reports[batch] = {.trained = true,
                        .epochs = result.epochs,
                        .steps = result.steps,
                        .train_loss = result.train_loss,
                        .validation_elbo = result.validation_elbo,
                        .stop_reason = result.stop_reason,
                        .seconds = runs[i].seconds};
    }
  }
  std::vector<BatchReport> list;
  for (auto& [batch, report] : reports) {
    report.batch = batch;
    report.cells = elbo.at(batch).cells;
    report.elbo = elbo.at(batch).mean;
    list.push_back(std::move(report));
  }
  return list;
}

// A watcher that was slow may have missed how the last runs ended.
MappingProgress Trained(const MappingPlan& plan, const std::vector<FinishedRun>& runs) {
  MappingProgress progress{.stage = "embed", .batches = {}};
  for (size_t i = 0; i < runs.size(); ++i) {
    const TrainResult& result = runs[i].result;
    const double loss = result.train_loss.empty() ? 0 : result.train_loss.back();
    progress.batches.push_back(
        {plan.runs[i].name, result.epochs, plan.runs[i].options.max_epochs, loss, true});
  }
  return progress;
}

void FillReport(const AtlasVersion& parent, const AtlasVersion& version, const Query& query,
                const MappingPlan& plan, const MappingOptions& options, MappingReport& report) {
  report.version_id = version.id;
  report.parent_id = parent.id;
  report.strategy = StrategyName(plan.strategy);
  report.preset = PresetName(options.preset);
  report.seed = options.seed;
  report.genes = query.genes;
  report.proteins = query.protein_report;
  report.instruction_set = InstructionSet();
  report.notes = plan.notes;
  const bool extended = version.id != parent.id;
  report.extension_kind = extended ? version.extension_kind : "none";
  report.extension_bytes = extended ? version.extension_bytes : 0;
  report.max_abs_probe_shift = extended ? version.max_abs_probe_shift : 0;
  double sum = 0;
  int64_t cells = 0;
  for (const BatchReport& batch : report.batches) {
    sum += batch.elbo * static_cast<double>(batch.cells);
    cells += batch.cells;
  }
  report.elbo = sum / static_cast<double>(cells);
}

}  // namespace

std::string_view StrategyName(Strategy strategy) {
  constexpr std::array<std::string_view, 3> kNames = {"independent", "joint", "chain"};
  return kNames[static_cast<size_t>(strategy)];
}

absl::StatusOr<MappingResult> RunMapping(Atlas& atlas, std::shared_ptr<const AtlasVersion> parent,
                                         const Query& query, const MappingOptions& options,
                                         const MappingEnvironment& environment) {
  MappingResult result;
  Stopwatch watch(result.report.seconds);
  const Model& model = *parent->model;
  PORTOLAN_RETURN_IF_ERROR(ValidateQuery(query, model.description().architecture.n_genes));
  PORTOLAN_RETURN_IF_ERROR(CheckAnnotations(model.description(), query.annotations,
                                            query.counts.rows(), AnnotationUse::kLoss));
  PORTOLAN_ASSIGN_OR_RETURN(const MappingPlan plan, PlanMapping(model, query, options));
  watch.End("plan");
  PORTOLAN_ASSIGN_OR_RETURN(
      const std::vector<FinishedRun> runs,
      TrainRuns(model, query, plan, Fingerprint(*parent, query, plan), environment));
  watch.End("train");
  PORTOLAN_RETURN_IF_ERROR(environment.cancel.Check());
  if (environment.on_progress) environment.on_progress(Trained(plan, runs));
  PORTOLAN_ASSIGN_OR_RETURN(result.version, AddVersions(atlas, parent, plan, runs));
  watch.End("extend");
  PORTOLAN_ASSIGN_OR_RETURN(ScoredQuery scored,
                            ScoreQuery(*result.version->model, query, options.seed, environment));
  TakeEmbedding(std::move(scored.embedding), *result.version->model, result);
  watch.End("embed");
  result.report.batches = ReportBatches(plan, runs, scored.elbo);
  FillReport(*parent, *result.version, query, plan, options, result.report);
  return result;
}

}  // namespace portolan
