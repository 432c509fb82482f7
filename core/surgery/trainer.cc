#include "core/surgery/trainer.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/networks.h"
#include "core/surgery/checkpoint_numbers.h"
#include "core/surgery/column_init.h"
#include "core/surgery/newton.h"
#include "core/surgery/schedule.h"
#include "core/surgery/scvi_layout.h"
#include "core/surgery/training_session.h"

namespace portolan {
namespace {

/// Where a run stands, beside its tensors.
struct RunState {
  int64_t epoch = 0;  // finished
  int64_t next_minibatch = 0;
  int64_t steps = 0;
  double epoch_loss = 0;  // sums over the cells of the epoch under way
  double epoch_elbo = 0;
  EarlyStopping early_stopping;
  PlateauSchedule plateau;
  std::vector<double> train_loss;
  std::vector<double> validation_elbo;
};

void SaveRunState(const RunState& run, TensorBundle& bundle) {
  const std::vector<int64_t> counters = {run.epoch, run.next_minibatch, run.steps,
                                         run.early_stopping.epochs_without_gain,
                                         run.plateau.bad_epochs};
  bundle.tensors["run/counters"] =
      HostTensor::FromInts({static_cast<int64_t>(counters.size())}, counters);
  bundle.tensors["run/values"] = BitsOf({run.epoch_loss, run.epoch_elbo, run.early_stopping.best,
                                         run.plateau.learning_rate, run.plateau.best});
  bundle.tensors["run/train_loss"] = BitsOf(run.train_loss);
  bundle.tensors["run/validation_elbo"] = BitsOf(run.validation_elbo);
}

absl::Status RunStateDamaged() {
  return InvalidField("checkpoint", "its run state is damaged", "Start the mapping again");
}

absl::Status LoadRunState(const TensorBundle& bundle, RunState& run) {
  std::vector<int64_t> counters;
  std::vector<double> values;
  if (!ReadInts(bundle, "run/counters", counters) || counters.size() != 5 ||
      !ReadDoubles(bundle, "run/values", values) || values.size() != 5 ||
      !ReadDoubles(bundle, "run/train_loss", run.train_loss) ||
      !ReadDoubles(bundle, "run/validation_elbo", run.validation_elbo) ||
      std::any_of(counters.begin(), counters.end(), [](int64_t n) { return n < 0; })) {
    return RunStateDamaged();
  }
  run.epoch = counters[0];
  run.next_minibatch = counters[1];
  run.steps = counters[2];
  run.early_stopping.epochs_without_gain = counters[3];
  run.plateau.bad_epochs = counters[4];
  run.epoch_loss = values[0];
  run.epoch_elbo = values[1];
  run.early_stopping.best = values[2];
  run.plateau.learning_rate = values[3];
  run.plateau.best = values[4];
  return absl::OkStatus();
}

bool WantsAdversary(const Model& model, const std::map<std::string, HostTensor>& columns,
                    AdversaryMode mode) {
  const auto mask = columns.find(kProteinMaskKey);
  if (mask == columns.end() || !model.has_batch_key() || mode == AdversaryMode::kOff) return false;
  const auto measured = mask->second.floats();
  return mode == AdversaryMode::kOn ||
         std::any_of(measured.begin(), measured.end(), [](float m) { return m == 0; });
}

class Run {
 public:
  Run(const TrainingCells& cells, const TrainOptions& options, const TrainHooks& hooks)
      : cells_(cells), options_(options), hooks_(hooks), noise_(options.seed, cells) {
    split_ = SplitCells(cells, options.seed, options.train_share, options.minibatch);
    run_.plateau.learning_rate = options.adam.learning_rate;
    for (const int64_t row : split_.train) {
      if (row < static_cast<int64_t>(cells.annotations.labels.size()) &&
          cells.annotations.labels[row] >= 0) {
        labelled_.push_back(row);
      }
    }
  }

  absl::StatusOr<TrainResult> Go(const Model& model) {
    PORTOLAN_ASSIGN_OR_RETURN(session_, CreateSession(model));
    session_->ShareWork(sharing_);
    if (model.description().model_class != ModelClass::kScanvi) labelled_.clear();
    LeaveOutLoneCell();
    if (hooks_.resume_from.has_value()) {
      PORTOLAN_RETURN_IF_ERROR(session_->Load(*hooks_.resume_from));
      PORTOLAN_RETURN_IF_ERROR(LoadRunState(*hooks_.resume_from, run_));
      PORTOLAN_RETURN_IF_ERROR(CheckRunState());
    }
    bool stop = false;
    while (!stop && run_.epoch < options_.max_epochs) {
      PORTOLAN_RETURN_IF_ERROR(TrainEpoch());
      PORTOLAN_ASSIGN_OR_RETURN(stop, EndEpoch());
    }
    TrainResult result;
    PORTOLAN_ASSIGN_OR_RETURN(result.extension, session_->Extract());
    if (layout_.has_value()) result.extension = OnOriginal(*layout_, std::move(result.extension));
    result.epochs = static_cast<int>(run_.epoch);
    result.steps = run_.steps;
    result.train_loss = std::move(run_.train_loss);
    result.validation_elbo = std::move(run_.validation_elbo);
    result.stop_reason = stop ? "early stopping" : "epochs";
    return result;
  }

 private:
  // Whether a checkpoint's place lies within this run.
  absl::Status CheckRunState() const {
    const auto minibatches =
        static_cast<int64_t>((split_.train.size() + options_.minibatch - 1) / options_.minibatch);
    const bool within = run_.epoch < options_.max_epochs && run_.next_minibatch <= minibatches &&
                        static_cast<int64_t>(run_.train_loss.size()) == run_.epoch;
    return within ? absl::OkStatus() : RunStateDamaged();
  }

  absl::Status TrainEpoch() {
    const auto epoch = static_cast<int>(run_.epoch);
    noise_.set_epoch(epoch);
    const std::vector<int64_t> order = ShuffleRows(cells_, split_.train, options_.seed, epoch);
    const std::vector<int64_t> labelled_order =
        ShuffleLabelled(cells_, labelled_, options_.seed, epoch);
    const std::span<const int64_t> all(order);
    const auto size = static_cast<size_t>(options_.minibatch);
    for (size_t begin = run_.next_minibatch * size; begin < all.size(); begin += size) {
      if (hooks_.cancel.cancelled()) {
        PORTOLAN_RETURN_IF_ERROR(Checkpoint());
        return hooks_.cancel.Check();
      }
      const auto rows = all.subspan(begin, std::min(size, all.size() - begin));
      const float kl_weight = KlWeight(options_, epoch, run_.steps * optimizers_);
      const auto labelled = LabelledMinibatch(labelled_order);
      PORTOLAN_ASSIGN_OR_RETURN(
          const StepResult step,
          labelled.empty() ? session_->Step(rows, kl_weight, run_.plateau.learning_rate)
                           : session_->StepLabelled(rows, labelled, options_.classification_ratio,
                                                    kl_weight, run_.plateau.learning_rate));
      run_.epoch_loss += step.loss * static_cast<double>(rows.size());
      for (const float term : step.reconstruction) run_.epoch_elbo -= term;
      for (const float term : step.kl) run_.epoch_elbo -= term;
      ++run_.next_minibatch;
      ++run_.steps;
      if (hooks_.checkpoint_due && hooks_.checkpoint_due()) {
        PORTOLAN_RETURN_IF_ERROR(Checkpoint());
      }
    }
    return absl::OkStatus();
  }

  // A last minibatch of one labelled cell is too small for a batch norm.
  void LeaveOutLoneCell() {
    if (labelled_.size() % static_cast<size_t>(options_.minibatch) == 1) labelled_.pop_back();
  }

  // The labelled cells that step along: minibatches of their own, again from the first when they
  // have run out.
  std::span<const int64_t> LabelledMinibatch(const std::vector<int64_t>& order) const {
    if (order.empty()) return {};
    const auto size = static_cast<size_t>(options_.minibatch);
    const size_t count = (order.size() + size - 1) / size;
    const size_t begin = static_cast<size_t>(run_.next_minibatch) % count * size;
    return std::span<const int64_t>(order).subspan(begin, std::min(size, order.size() - begin));
  }

  // Closes the books of an epoch; true if training should stop.
  absl::StatusOr<bool> EndEpoch() {
    const auto trained = static_cast<double>(split_.train.size());
    double elbo = run_.epoch_elbo / trained;
    const bool watched = options_.early_stopping.has_value() || options_.plateau.has_value();
    if (watched && !split_.validation.empty()) {
      PORTOLAN_ASSIGN_OR_RETURN(elbo, ValidationElbo());
      run_.validation_elbo.push_back(elbo);
    }
    run_.train_loss.push_back(run_.epoch_loss / trained);
    ++run_.epoch;
    run_.next_minibatch = 0;
    run_.epoch_loss = 0;
    run_.epoch_elbo = 0;
    if (options_.plateau.has_value()) run_.plateau.Update(*options_.plateau, -elbo);
    const bool stop = options_.early_stopping.has_value() &&
                      run_.early_stopping.Update(*options_.early_stopping, -elbo);
    if (hooks_.on_epoch) {
      hooks_.on_epoch({static_cast<int>(run_.epoch), options_.max_epochs, run_.train_loss.back()});
    }
    return stop;
  }

  absl::StatusOr<double> ValidationElbo() {
    PORTOLAN_ASSIGN_OR_RETURN(const std::vector<double> terms,
                              session_->NegativeElbo(split_.validation));
    double sum = 0;
    for (const double term : terms) sum += term;
    return -sum / static_cast<double>(terms.size());
  }

  absl::Status Checkpoint() {
    if (!hooks_.on_checkpoint) return absl::OkStatus();
    PORTOLAN_ASSIGN_OR_RETURN(TensorBundle bundle, session_->Save());
    SaveRunState(run_, bundle);
    hooks_.on_checkpoint(bundle);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<TrainingSession>> CreateSession(const Model& model) {
    auto columns = InitialColumns(model, cells_, options_.seed);
    const Model* trained = &model;
    if (options_.freeze.scvi_columns && MovesColumns(model)) {
      TrainingCells reference;
      reference.batches = {model.description().batches.categories.front()};
      layout_ = ScviColumns(model, columns, InitialColumns(model, reference, options_.seed));
      PORTOLAN_ASSIGN_OR_RETURN(moved_model_, model.Extend(layout_->moved));
      columns = layout_->columns;
      trained = moved_model_.get();
    }
    std::optional<AdversaryOptions> adversary;
    if (WantsAdversary(model, columns, options_.adversary)) {
      adversary = AdversaryOptions{options_.adversary_scale, options_.seed};
      optimizers_ = 2;
    }
    return TrainingSession::Create(*trained, cells_, columns, options_.freeze, options_.adam,
                                   noise_, adversary, options_.precision);
  }

  const TrainingCells& cells_;
  const TrainOptions& options_;
  const TrainHooks& hooks_;
  CellNoise noise_;
  Split split_;
  std::vector<int64_t> labelled_;  // of the training rows; empty unless SCANVI
  std::optional<ScviLayout> layout_;
  std::shared_ptr<const Model> moved_model_;
  RunState run_;
  WorkSharing sharing_{hooks_.executor};
  std::unique_ptr<TrainingSession> session_;
  int64_t optimizers_ = 1;
};

absl::Status CheckOptions(const TrainOptions& options) {
  if (!(options.train_share > 0) || !(options.train_share <= 1)) {
    return InvalidField("train_share", absl::StrCat(options.train_share),
                        "Use a share above 0 and up to 1, such as 0.9");
  }
  if (options.max_epochs < 1) {
    return InvalidField("epochs", absl::StrCat(options.max_epochs), "Ask for at least one");
  }
  if (options.minibatch < 2) {
    return InvalidField("minibatch", absl::StrCat(options.minibatch), "Use two cells or more");
  }
  if (!(options.adam.learning_rate > 0) || !(options.adam.learning_rate < 1)) {
    return InvalidField("learning_rate", absl::StrCat(options.adam.learning_rate),
                        "Use a number between 0 and 1, such as 0.001");
  }
  if (!(options.adam.weight_decay >= 0) || !(options.adam.weight_decay < 1)) {
    return InvalidField("weight_decay", absl::StrCat(options.adam.weight_decay),
                        "Use a number from 0 to 1; 0 leaves the reference alone");
  }
  if (options.newton.has_value() && options.adam.weight_decay != 0) {
    return InvalidField("weight_decay", absl::StrCat(options.adam.weight_decay),
                        "Leave it at 0 with preset newton, or choose another preset");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainResult> Train(const Model& model, const TrainingCells& cells,
                                  const TrainOptions& options, const TrainHooks& hooks) {
  PORTOLAN_RETURN_IF_ERROR(CheckOptions(options));
  if (cells.cells() == 0) {
    return InvalidField("cells", "none", "Give a query with at least one cell in every batch");
  }
  const std::vector<int32_t>& labels = cells.annotations.labels;
  if (options.newton.has_value() &&
      std::any_of(labels.begin(), labels.end(), [](int32_t code) { return code >= 0; })) {
    return InvalidField("labels_key", "labels with preset newton, which does not train with them",
                        "Leave the labels out, or choose another preset");
  }
  if (options.newton.has_value()) return TrainNewton(model, cells, options, hooks);
  return Run(cells, options, hooks).Go(model);
}

}  // namespace portolan
