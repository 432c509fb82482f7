#include "core/surgery/newton.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/surgery/checkpoint_numbers.h"
#include "core/surgery/column_init.h"
#include "core/surgery/lbfgs.h"
#include "core/surgery/training_session.h"

namespace portolan {
namespace {

// Cells between two looks at the cancel token.
constexpr size_t kChunk = 512;
// A line search that has not found a lower loss by then has reached what float32 can tell apart.
constexpr int kMostTrials = 8;

class NewtonRun {
 public:
  NewtonRun(const TrainingCells& cells, const TrainOptions& options, const TrainHooks& hooks)
      : cells_(cells),
        options_(options),
        hooks_(hooks),
        noise_(options.seed, cells),
        rows_(cells.cells()),
        memory_(options.newton->history) {
    std::iota(rows_.begin(), rows_.end(), 0);
  }

  absl::StatusOr<TrainResult> Go(const Model& model) {
    PORTOLAN_ASSIGN_OR_RETURN(
        session_, TrainingSession::Create(
                      model, cells_,
                      InitialColumns(model, cells_, options_.seed, ColumnStart::kReferenceMean),
                      options_.freeze, options_.adam, noise_, std::nullopt, options_.precision));
    session_->ShareWork(sharing_);
    if (hooks_.resume_from.has_value()) {
      PORTOLAN_RETURN_IF_ERROR(Resume(*hooks_.resume_from));
    } else {
      PORTOLAN_ASSIGN_OR_RETURN(x_, session_->Parameters());
      PORTOLAN_RETURN_IF_ERROR(Start());
    }
    bool converged = x_.empty();
    while (!converged && Passes() < options_.max_epochs) {
      PORTOLAN_ASSIGN_OR_RETURN(converged, Iterate());
      if (!converged && hooks_.checkpoint_due && hooks_.checkpoint_due()) {
        PORTOLAN_RETURN_IF_ERROR(Checkpoint());
      }
    }
    PORTOLAN_RETURN_IF_ERROR(session_->SetParameters(x_));
    TrainResult result;
    PORTOLAN_ASSIGN_OR_RETURN(result.extension, session_->Extract());
    result.epochs = Passes();
    result.steps = Passes();
    result.train_loss = std::move(losses_);
    result.stop_reason = converged ? "converged" : "epochs";
    return result;
  }

 private:
  int Passes() const { return static_cast<int>(losses_.size()); }

  // The first pass.
  absl::Status Start() {
    here_.squares.resize(x_.size());
    PORTOLAN_RETURN_IF_ERROR(Evaluate(x_, here_));
    inverse_ = InverseCurvature(here_.squares);
    memory_ = Lbfgs(options_.newton->history, inverse_);
    return absl::OkStatus();
  }

  // The inverse of the empirical Fisher information, as a guess of the curvature: the parameters'
  // scales differ by orders of magnitude. Empty where the session does not tell.
  std::vector<double> InverseCurvature(const std::vector<double>& squares) const {
    const double sum = std::accumulate(squares.begin(), squares.end(), 0.0);
    if (!(sum > 0) || !std::isfinite(sum)) return {};
    const double least = options_.newton->damping * sum / static_cast<double>(squares.size());
    std::vector<double> inverse;
    for (const double square : squares) {
      inverse.push_back(static_cast<double>(rows_.size()) / (square + least));
    }
    return inverse;
  }

  // One pass at parameters x.
  absl::Status Evaluate(const std::vector<float>& x, LossSum& sum) {
    PORTOLAN_RETURN_IF_ERROR(session_->SetParameters(x));
    sum.loss = 0;
    sum.gradient.assign(x.size(), 0);
    const std::span<const int64_t> all(rows_);
    for (size_t at = 0; at < all.size(); at += kChunk) {
      if (hooks_.cancel.cancelled()) {
        PORTOLAN_RETURN_IF_ERROR(Checkpoint());
        return hooks_.cancel.Check();
      }
      PORTOLAN_RETURN_IF_ERROR(session_->AddLossAndGradient(
          all.subspan(at, std::min(kChunk, all.size() - at)), options_.newton->kl_weight, sum));
    }
    const double share = 1 / static_cast<double>(all.size());
    sum.loss *= share;
    for (double& value : sum.gradient) value *= share;
    losses_.push_back(sum.loss);
    if (hooks_.on_epoch) hooks_.on_epoch({Passes(), options_.max_epochs, sum.loss});
    return absl::OkStatus();
  }

  // A step along the quasi-Newton direction; true if it gained too little to go on.
  absl::StatusOr<bool> Iterate() {
    if (!std::isfinite(here_.loss)) {
      return absl::AbortedError(absl::StrCat("the training loss became ", here_.loss,
                                             "; look for extreme counts in the query"));
    }
    const std::vector<double> direction = memory_.Direction(here_.gradient);
    const LinePoint start{0, here_.loss, Dot(direction, here_.gradient)};
    if (!(start.slope < 0)) return true;
    const int passes_before = Passes();
    std::vector<float> best = x_;
    LossSum best_sum = here_;
    double length = 1;
    for (int trial = 0; trial < kMostTrials && Passes() < options_.max_epochs; ++trial) {
      std::vector<float> x = x_;
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(x[i] + length * direction[i]);
      }
      LossSum sum;
      PORTOLAN_RETURN_IF_ERROR(Evaluate(x, sum));
      const LinePoint point{length, sum.loss, Dot(direction, sum.gradient)};
      const bool better = sum.loss < best_sum.loss;
      const LineDecision decision = JudgeStep(start, point);
      if (better) {
        best = std::move(x);
        best_sum = std::move(sum);
      }
      // A longer step that is worse than a good shorter one ends the search, too.
      if (decision.accept || (!better && best_sum.loss < here_.loss)) break;
      length = decision.next_length;
    }
    const double gain = here_.loss - best_sum.loss;
    if (!(gain > 0)) return true;
    std::vector<double> step(x_.size());
    std::vector<double> change(x_.size());
    for (size_t i = 0; i < x_.size(); ++i) {
      step[i] = static_cast<double>(best[i]) - x_[i];
      change[i] = best_sum.gradient[i] - here_.gradient[i];
    }
    memory_.Update(std::move(step), std::move(change));
    x_ = std::move(best);
    here_ = std::move(best_sum);
    saved_losses_ = losses_;
    const double least = std::max(options_.newton->min_gain,
                                  options_.newton->min_share * (losses_.front() - here_.loss));
    return gain / (Passes() - passes_before) < least;
  }

  absl::Status Checkpoint() {
    // Before the first step there is nothing that starting again would not give.
    if (!hooks_.on_checkpoint || saved_losses_.empty()) return absl::OkStatus();
    PORTOLAN_RETURN_IF_ERROR(session_->SetParameters(x_));
    PORTOLAN_ASSIGN_OR_RETURN(TensorBundle bundle, session_->Save());
    std::vector<double> steps;
    std::vector<double> changes;
    for (const auto& step : memory_.steps()) steps.insert(steps.end(), step.begin(), step.end());
    for (const auto& change : memory_.gradient_changes()) {
      changes.insert(changes.end(), change.begin(), change.end());
    }
    bundle.tensors["newton/loss"] = BitsOf({here_.loss});
    bundle.tensors["newton/gradient"] = BitsOf(here_.gradient);
    bundle.tensors["newton/inverse"] = BitsOf(inverse_);
    bundle.tensors["newton/steps"] = BitsOf(steps);
    bundle.tensors["newton/changes"] = BitsOf(changes);
    bundle.tensors["newton/losses"] = BitsOf(saved_losses_);
    hooks_.on_checkpoint(bundle);
    return absl::OkStatus();
  }

  absl::Status Resume(const TensorBundle& bundle) {
    PORTOLAN_RETURN_IF_ERROR(session_->Load(bundle));
    PORTOLAN_ASSIGN_OR_RETURN(x_, session_->Parameters());
    std::vector<double> loss;
    std::vector<double> steps;
    std::vector<double> changes;
    const size_t n = x_.size();
    if (n == 0 || !ReadDoubles(bundle, "newton/loss", loss) || loss.size() != 1 ||
        !ReadDoubles(bundle, "newton/gradient", here_.gradient) || here_.gradient.size() != n ||
        !ReadDoubles(bundle, "newton/inverse", inverse_) ||
        (!inverse_.empty() && inverse_.size() != n) ||
        !ReadDoubles(bundle, "newton/steps", steps) || steps.size() % n != 0 ||
        steps.size() / n > static_cast<size_t>(options_.newton->history) ||
        !ReadDoubles(bundle, "newton/changes", changes) || changes.size() != steps.size() ||
        !ReadDoubles(bundle, "newton/losses", losses_) || losses_.empty()) {
      return InvalidField("checkpoint", "its run state is damaged", "Start the mapping again");
    }
    here_.loss = loss[0];
    memory_ = Lbfgs(options_.newton->history, inverse_);
    for (size_t at = 0; at < steps.size(); at += n) {
      memory_.Update({steps.begin() + at, steps.begin() + at + n},
                     {changes.begin() + at, changes.begin() + at + n});
    }
    saved_losses_ = losses_;
    return absl::OkStatus();
  }

  const TrainingCells& cells_;
  const TrainOptions& options_;
  const TrainHooks& hooks_;
  CellNoise noise_;
  std::vector<int64_t> rows_;
  Lbfgs memory_;
  WorkSharing sharing_{hooks_.executor};
  std::unique_ptr<TrainingSession> session_;
  std::vector<float> x_;              // after the last step
  LossSum here_;                      // at x_
  std::vector<double> inverse_;       // guess of the inverse curvature
  std::vector<double> losses_;        // of every pass
  std::vector<double> saved_losses_;  // of the passes up to the last step
};

}  // namespace

absl::StatusOr<TrainResult> TrainNewton(const Model& model, const TrainingCells& cells,
                                        const TrainOptions& options, const TrainHooks& hooks) {
  return NewtonRun(cells, options, hooks).Go(model);
}

}  // namespace portolan
