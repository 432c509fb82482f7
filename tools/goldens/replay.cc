#include "tools/goldens/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/archive/saved_model.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/query_reader.h"
#include "core/matrix/gene_alignment.h"
#include "core/model/annotations.h"
#include "core/model/expression.h"
#include "core/model/model.h"
#include "core/model/state_dict.h"
#include "core/surgery/column_init.h"
#include "core/surgery/scvi_layout.h"
#include "core/surgery/training_session.h"
#include "tools/goldens/golden_file.h"

namespace portolan {
namespace {

constexpr double kExact = 1e-5;       // one forward pass
constexpr double kTrajectory = 1e-4;  // 20 steps of Adam
constexpr double kProteinFloat32 = 2e-4;
constexpr double kDrawn = 4e-3;  // a mean over many draws
constexpr float kEpsilon = 0.37f;
constexpr char kNewBatch[] = "golden query";

class ConstantNoise : public NoiseSource {
 public:
  void Normal(RandomUse, std::span<const int64_t> rows, int64_t width, float* out) override {
    std::fill(out, out + static_cast<int64_t>(rows.size()) * width, kEpsilon);
  }
  // No dropout: everything is kept.
  void Uniform(const std::string&, std::span<const int64_t> rows, int64_t width,
               float* out) override {
    std::fill(out, out + static_cast<int64_t>(rows.size()) * width, 1.0f);
  }
};

/// Rows of the counts' file in which the golden file's cells stand.
absl::StatusOr<std::vector<int64_t>> RowsOf(const GoldenFile& golden, const QueryReader& reader,
                                            const std::string& path) {
  std::unordered_map<std::string, int64_t> row_of;
  for (size_t i = 0; i < reader.cell_names().size(); ++i) {
    row_of[reader.cell_names()[i]] = static_cast<int64_t>(i);
  }
  std::vector<int64_t> rows;
  for (const std::string& cell : golden.cells) {
    const auto it = row_of.find(cell);
    if (it == row_of.end()) {
      return InvalidField("counts", absl::StrCat("no cell '", cell, "' in ", path),
                          "Give the counts that the golden file was made from");
    }
    rows.push_back(it->second);
  }
  return rows;
}

/// The counts of the golden file's cells, in its order, aligned to the model's genes.
absl::StatusOr<CsrMatrix> ReadCells(const GoldenFile& golden, const std::string& path) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto reader, OpenQuery(path));
  PORTOLAN_ASSIGN_OR_RETURN(const auto genes, reader->GeneNames({}));
  PORTOLAN_ASSIGN_OR_RETURN(
      const GeneAlignment alignment,
      GeneAlignment::Create(golden.genes, genes, reader->cell_names(), {.min_share = 0}));
  CsrMatrix counts;
  counts.cols = alignment.reference_genes();
  PORTOLAN_RETURN_IF_ERROR(
      reader->ReadCounts({}, alignment, 4096, CancelToken(), [&](int64_t, const CsrMatrix& block) {
        counts.Append(block);
        return absl::OkStatus();
      }));
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int64_t> rows, RowsOf(golden, *reader, path));
  return counts.SelectRows(rows);
}

/// 0.01 * ((row mod 7) - 3) in every new column; the library prior is the golden file's own, the
/// background's N(3, 1), the efficiency 1.
std::map<std::string, HostTensor> GoldenColumns(const Model& model, const TrainingCells& cells,
                                                const GoldenFile& golden) {
  std::map<std::string, HostTensor> columns = InitialColumns(model, cells, 0);
  for (auto& [key, tensor] : columns) {
    if (key == "protein_batch_mask") continue;
    std::vector<float> values(tensor.elements());
    for (size_t row = 0; row < values.size(); ++row) {
      values[row] = 0.01f * static_cast<float>(static_cast<int>(row % 7) - 3);
    }
    if (absl::StartsWith(key, "library_log")) {
      const GoldenArray* stored = golden.Find(absl::StrCat("col:", key));
      if (stored == nullptr) continue;
      values = {static_cast<float>(stored->values.back())};
    }
    if (key == "background_pro_alpha") std::fill(values.begin(), values.end(), 3.0f);
    if (key == "background_pro_log_beta" || key == "log_per_batch_efficiency") {
      std::fill(values.begin(), values.end(), 0.0f);
    }
    tensor = HostTensor::FromFloats(tensor.shape(), values);
  }
  return columns;
}

/// Proteins of the golden file's cells where the counts' file has the matrix that the model was set
/// up with; none otherwise: the golden was made with all of them missing.
absl::StatusOr<ProteinCounts> ReadCellProteins(const GoldenFile& golden,
                                               const ModelDescription& description,
                                               const std::string& path) {
  ProteinCounts proteins;
  if (description.proteins.empty()) return proteins;
  PORTOLAN_ASSIGN_OR_RETURN(const auto reader, OpenQuery(path));
  const ProteinSource source{description.proteins_key, ""};
  const auto names = reader->ProteinNames(source);
  if (!names.ok()) return proteins;
  PORTOLAN_ASSIGN_OR_RETURN(const ProteinAlignment alignment,
                            ProteinAlignment::Create(description.proteins, *names));
  std::vector<float> all;
  PORTOLAN_RETURN_IF_ERROR(reader->ReadProteins(source, alignment, 4096, CancelToken(),
                                                [&](int64_t, const std::vector<float>& block) {
                                                  all.insert(all.end(), block.begin(), block.end());
                                                  return absl::OkStatus();
                                                }));
  proteins.n_proteins = static_cast<int64_t>(description.proteins.size());
  proteins.values = std::move(all);
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int64_t> rows, RowsOf(golden, *reader, path));
  proteins = proteins.SelectRows(rows);
  proteins.measured = alignment.present();
  return proteins;
}

template <typename T>
std::vector<T> ValuesAs(const GoldenFile& golden, const std::string& name) {
  const GoldenArray* array = golden.Find(name);
  if (array == nullptr) return {};
  return {array->values.begin(), array->values.end()};
}

/// What the golden file says about its cells beside counts and batch.
CellAnnotations GoldenAnnotations(const GoldenFile& golden, const ModelDescription& model) {
  CellAnnotations annotations;
  annotations.n_categorical = static_cast<int64_t>(model.categorical_covariates.size());
  annotations.n_continuous = static_cast<int64_t>(model.continuous_covariates.size());
  annotations.categorical = ValuesAs<int32_t>(golden, "categorical");
  annotations.continuous = ValuesAs<float>(golden, "continuous");
  annotations.size_factors = ValuesAs<float>(golden, "size_factor");
  annotations.labels = ValuesAs<int32_t>(golden, "labels");
  for (int32_t& label : annotations.labels) {
    if (label >= model.architecture.n_labels) label = -1;  // the unlabelled category is the last
  }
  return annotations;
}

FreezeFlags GoldenFlags(const GoldenFile& golden) {
  FreezeFlags freeze;
  freeze.freeze_dropout = true;
  freeze.scvi_columns = golden.Scalar("surgery_compat", 0) != 0;
  const std::pair<const char*, bool*> flags[] = {
      {"unfrozen", &freeze.unfrozen},
      {"freeze_expression", &freeze.freeze_expression},
      {"freeze_decoder_first_layer", &freeze.freeze_decoder_first_layer},
      {"freeze_batchnorm_encoder", &freeze.freeze_batchnorm_encoder},
      {"freeze_batchnorm_decoder", &freeze.freeze_batchnorm_decoder},
      {"freeze_classifier", &freeze.freeze_classifier}};
  for (const auto& [name, flag] : flags) {
    *flag = golden.Scalar(absl::StrCat("flag_", name), *flag ? 1 : 0) != 0;
  }
  return freeze;
}

class Replay {
 public:
  Replay(const GoldenFile& golden, CsrMatrix counts, ProteinCounts proteins) : golden_(golden) {
    cells_.counts = std::move(counts);
    cells_.proteins = std::move(proteins);
    cells_.batches = {kNewBatch};
    cells_.batch_codes.assign(cells_.counts.rows(), 0);
    cells_.cell_ids.assign(cells_.counts.rows(), 0);
    freeze_ = GoldenFlags(golden);
    adam_.learning_rate = golden.Scalar("surgery_lr", 1e-3);
    adam_.weight_decay = golden.Scalar("surgery_weight_decay", 0);
  }

  absl::StatusOr<GoldenReport> Go(const Model& model) {
    cells_.annotations = GoldenAnnotations(golden_, model.description());
    PORTOLAN_RETURN_IF_ERROR(CheckAnnotations(model.description(), cells_.annotations,
                                              cells_.cells(), AnnotationUse::kLoss));
    columns_ = GoldenColumns(model, cells_, golden_);
    std::shared_ptr<const Model> moved;
    if (freeze_.scvi_columns) {
      layout_ = ScviColumns(model, columns_, columns_);
      columns_ = layout_.columns;
      PORTOLAN_ASSIGN_OR_RETURN(moved, model.Extend(layout_.moved));
    }
    const Model& trained = moved == nullptr ? model : *moved;
    PORTOLAN_ASSIGN_OR_RETURN(const auto before, Extended(trained));
    PORTOLAN_RETURN_IF_ERROR(CheckLatents(model, *before));
    PORTOLAN_RETURN_IF_ERROR(CheckExpression(*before));
    PORTOLAN_RETURN_IF_ERROR(CheckSurgery(model, trained, *before));
    return std::move(report_);
  }

 private:
  static double Error(double got, double want, bool relative) {
    const double error = std::abs(got - want);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    return relative ? error / std::max(std::abs(want), 1e-30) : error;
  }

  template <typename T>
  void Compare(const std::string& name, std::span<const T> got, double tolerance, bool relative) {
    const GoldenArray* want = golden_.Find(name);
    if (want == nullptr) return;
    CompareTo(name, got, want->values, tolerance, relative);
  }

  template <typename T>
  void CompareTo(const std::string& name, std::span<const T> got, std::span<const double> want,
                 double tolerance, bool relative) {
    GoldenItem item{name, 0, tolerance, relative};
    if (got.size() != want.size()) {
      item.largest_error = std::numeric_limits<double>::infinity();
    } else {
      for (size_t i = 0; i < got.size(); ++i) {
        item.largest_error = std::max(item.largest_error, Error(got[i], want[i], relative));
      }
    }
    report_.items.push_back(item);
  }

  absl::StatusOr<std::shared_ptr<const Model>> Extended(const Model& model) {
    Extension extension;
    extension.batches = {kNewBatch};
    extension.columns = columns_;
    if (!model.has_batch_key()) return model.Extend({});
    return model.Extend(extension);
  }

  static int32_t CodeOf(const Model& model) {
    return model.has_batch_key() ? model.BatchCode(kNewBatch) : 0;
  }

  absl::StatusOr<Embedding> EncodeRows(const Model& model, int64_t rows, int32_t code) {
    std::vector<int64_t> all(rows);
    std::iota(all.begin(), all.end(), 0);
    const CellAnnotations annotations = cells_.annotations.SelectRows(all);
    const ProteinCounts proteins = cells_.proteins.SelectRows(all);
    return Encode(
        model,
        {cells_.counts.SelectRows(all), std::vector<int32_t>(rows, code), annotations, proteins},
        CancelToken());
  }

  absl::Status CheckLatents(const Model& saved, const Model& extended) {
    // A batch code: latents of the model as saved; none: of the model with the new batch.
    const GoldenArray* code = golden_.Find("batch_code");
    PORTOLAN_ASSIGN_OR_RETURN(
        const Embedding z,
        EncodeRows(code == nullptr ? extended : saved, cells_.cells(),
                   code == nullptr ? CodeOf(extended) : static_cast<int32_t>(code->values[0])));
    Compare<float>("latent_mean", Location(z), kExact, false);
    Compare<float>("latent_representation", z.mean, kDrawn, false);
    Compare<float>("latent_var", z.variance, kExact, false);
    Compare<float>("probs", z.probabilities, kExact, false);
    return absl::OkStatus();
  }

  // Denoised values of all features, decoded as the model's first batch; as the new one where there
  // is but one, to which scvi-tools' surgery gives random columns.
  absl::Status CheckExpression(const Model& extended) {
    if (golden_.Find("expression_genes") == nullptr) return absl::OkStatus();
    ExpressionOptions options;
    options.genes.resize(extended.description().genes.size());
    options.proteins.resize(extended.description().proteins.size());
    std::iota(options.genes.begin(), options.genes.end(), 0);
    std::iota(options.proteins.begin(), options.proteins.end(), 0);
    const bool one_batch = extended.description().batches.categories.size() == 2;
    options.transform_batches = {one_batch ? CodeOf(extended) : 0};
    options.foreground = true;
    const std::vector<int32_t> codes(cells_.cells(), CodeOf(extended));
    ConstantNoise noise;
    PORTOLAN_ASSIGN_OR_RETURN(
        const ExpressionBlock block,
        Express(extended, {cells_.counts, codes, cells_.annotations, cells_.proteins}, options,
                noise, CancelToken()));
    Compare<float>("expression_genes", block.genes, kExact, false);
    Compare<float>("expression_proteins", block.proteins, kTrajectory, true);
    Compare<float>("expression_foreground", block.foreground, kExact, false);
    return absl::OkStatus();
  }

  // TOTALVI's terms. scvi-tools' own float32 error in the protein term is 1e-4 of it, since lgamma
  // of large sums cancels: a wider bound for that item.
  void CheckFirstTotalviStep(const StepResult& step) {
    std::vector<float> genes = step.reconstruction;
    for (size_t i = 0; i < genes.size(); ++i) genes[i] -= step.proteins[i];
    Compare<float>("step0_reconst_loss_gene", genes, kExact, true);
    Compare<float>("step0_reconst_loss_protein", step.proteins, kProteinFloat32, true);
    std::vector<double> kl(step.kl.size());
    for (const char* name : {"step0_kl_div_z", "step0_kl_div_l_gene", "step0_kl_div_back_pro"}) {
      const GoldenArray* term = golden_.Find(name);
      if (term == nullptr || term->values.size() != kl.size()) return;
      for (size_t i = 0; i < kl.size(); ++i) kl[i] += term->values[i];
    }
    CompareTo<float>("step0_kl_divergence", step.kl, kl, kExact, true);
  }

  // Of the normal, which scvi-tools' golden numbers are about.
  static const std::vector<float>& Location(const Embedding& z) {
    return z.location.empty() ? z.mean : z.location;
  }

  void CheckFirstStep(const StepResult& step) {
    if (!step.proteins.empty()) return CheckFirstTotalviStep(step);
    Compare<float>("step0_reconstruction_loss", step.reconstruction, kExact, true);
    Compare<float>("step0_kl_local", step.kl, kExact, true);
    const GoldenArray* z = golden_.Find("step0_kl_divergence_z");
    if (z == nullptr) return;
    std::vector<double> kl = z->values;
    if (const GoldenArray* library = golden_.Find("step0_kl_divergence_l")) {
      for (size_t i = 0; i < std::min(kl.size(), library->values.size()); ++i) {
        kl[i] += library->values[i];
      }
    }
    CompareTo<float>("step0_kl_divergence", step.kl, kl, kExact, true);
  }

  // The labelled cells of a step, by the golden file's rule.
  std::vector<int64_t> LabelledRows(int64_t step, int64_t minibatch) const {
    if (golden_.Scalar("surgery_labelled", 0) == 0) return {};
    std::vector<int64_t> labelled;
    for (size_t row = 0; row < cells_.annotations.labels.size(); ++row) {
      if (cells_.annotations.labels[row] >= 0) labelled.push_back(static_cast<int64_t>(row));
    }
    const auto n = static_cast<int64_t>(labelled.size());
    if (n == 0) return {};
    const int64_t begin = minibatch * step % n;
    return {labelled.begin() + begin, labelled.begin() + std::min(begin + minibatch, n)};
  }

  // `trained`: the model, with its columns moved where the golden file has them so.
  absl::Status CheckSurgery(const Model& model, const Model& trained, const Model& before) {
    const GoldenArray* losses = golden_.Find("surgery_losses");
    if (losses == nullptr) return absl::OkStatus();
    const auto cells = static_cast<int64_t>(golden_.Scalar("surgery_cells", 0));
    const auto minibatch = static_cast<int64_t>(golden_.Scalar("surgery_minibatch", 128));
    if (cells < 1 || cells > cells_.cells() || minibatch < 1) {
      return InvalidField("golden", absl::StrCat(cells, " surgery cells"), "Make the file again");
    }
    PORTOLAN_ASSIGN_OR_RETURN(const Embedding start, EncodeRows(before, cells, CodeOf(before)));
    Compare<float>("surgery_latent_before", Location(start), kExact, false);

    ConstantNoise noise;
    PORTOLAN_ASSIGN_OR_RETURN(const auto session, TrainingSession::Create(trained, cells_, columns_,
                                                                          freeze_, adam_, noise));
    std::vector<double> got;
    for (size_t step = 0; step < losses->values.size(); ++step) {
      const int64_t first = (minibatch * static_cast<int64_t>(step)) % cells;
      std::vector<int64_t> rows(std::min(minibatch, cells - first));
      std::iota(rows.begin(), rows.end(), first);
      PORTOLAN_ASSIGN_OR_RETURN(
          const StepResult result,
          session->StepLabelled(rows, LabelledRows(static_cast<int64_t>(step), minibatch),
                                TrainOptions().classification_ratio,
                                golden_.Scalar("surgery_kl_weight", 0.3), adam_.learning_rate));
      if (step == 0) CheckFirstStep(result);
      got.push_back(result.loss);
    }
    Compare<double>("surgery_losses", got, kExact, true);
    PORTOLAN_ASSIGN_OR_RETURN(Extension extension, session->Extract());
    if (freeze_.scvi_columns) extension = OnOriginal(layout_, std::move(extension));
    PORTOLAN_ASSIGN_OR_RETURN(const auto after, model.Extend(extension));
    PORTOLAN_ASSIGN_OR_RETURN(const Embedding end, EncodeRows(*after, cells, CodeOf(*after)));
    Compare<float>("surgery_latent_after", Location(end), kTrajectory, false);
    return CheckTensors(extension, *after);
  }

  // New columns, and tensors that changed whole.
  absl::Status CheckTensors(const Extension& extension, const Model& after) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto tensors, StateDict(after));
    for (const auto& [name, array] : golden_.arrays) {
      absl::string_view key = name;
      if (absl::ConsumePrefix(&key, "col:")) {
        const auto it = extension.columns.find(std::string(key));
        if (it == extension.columns.end()) {
          report_.skipped.push_back(absl::StrCat(name, ": the forward pass never reads it"));
          continue;
        }
        CompareTo<float>(name, it->second.floats(), LastColumn(array, it->second.elements()),
                         kTrajectory, false);
      } else if (absl::ConsumePrefix(&key, "param:") || absl::ConsumePrefix(&key, "buffer:")) {
        const auto it = tensors.find(std::string(key));
        if (it == tensors.end()) {
          report_.skipped.push_back(absl::StrCat(name, ": the forward pass never reads it"));
          continue;
        }
        CompareTo<float>(name, it->second.floats(), array.values, kTrajectory, false);
      }
    }
    return absl::OkStatus();
  }

  // Where one batch became two, scvi-tools has two new columns; the last one is the query's.
  static std::vector<double> LastColumn(const GoldenArray& array, int64_t rows) {
    const auto size = static_cast<int64_t>(array.values.size());
    if (rows == 0 || size % rows != 0) return array.values;
    const int64_t columns = size / rows;
    std::vector<double> out;
    for (int64_t row = 0; row < rows; ++row)
      out.push_back(array.values[row * columns + columns - 1]);
    return out;
  }

  const GoldenFile& golden_;
  TrainingCells cells_;
  FreezeFlags freeze_;
  AdamOptions adam_;
  std::map<std::string, HostTensor> columns_;
  ScviLayout layout_;
  GoldenReport report_;
};

}  // namespace

bool GoldenReport::ok() const {
  return !items.empty() &&
         std::all_of(items.begin(), items.end(), [](const GoldenItem& i) { return i.ok(); });
}

absl::StatusOr<GoldenReport> ReplayGolden(const std::string& model_directory,
                                          const std::string& golden_path,
                                          const std::string& counts_path) {
  PORTOLAN_ASSIGN_OR_RETURN(const SavedModel saved, ReadSavedModel(model_directory));
  PORTOLAN_ASSIGN_OR_RETURN(const auto model, Model::Create(saved));
  PORTOLAN_ASSIGN_OR_RETURN(const GoldenFile golden, ReadGolden(golden_path));
  if (golden.genes != saved.description.genes) {
    return InvalidField("golden", "its genes are not the model's", "Give the golden of this model");
  }
  PORTOLAN_ASSIGN_OR_RETURN(CsrMatrix counts, ReadCells(golden, counts_path));
  PORTOLAN_ASSIGN_OR_RETURN(ProteinCounts proteins,
                            ReadCellProteins(golden, saved.description, counts_path));
  return Replay(golden, std::move(counts), std::move(proteins)).Go(*model);
}

}  // namespace portolan
