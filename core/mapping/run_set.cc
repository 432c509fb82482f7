#include "core/mapping/run_set.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/mapping/mapping_checkpoint.h"

namespace portolan {
namespace {

/// What the runs of a mapping share: progress, checkpoints, the first error.
class Ledger {
 public:
  Ledger(const MappingPlan& plan, const std::string& fingerprint,
         const MappingEnvironment& environment)
      : plan_(plan), environment_(environment), cancel_(environment.cancel.Child()) {
    checkpoint_.fingerprint = fingerprint;
    progress_.stage = "train";
    for (const PlannedRun& run : plan.runs) {
      progress_.batches.push_back({run.name, 0, run.options.max_epochs, 0, false});
      epochs_at_start_.push_back(0);
    }
    started_ = absl::Now();
    last_checkpoint_ = started_;
  }

  /// Takes over what an earlier attempt left.
  absl::Status Resume(const std::string& bytes) {
    PORTOLAN_ASSIGN_OR_RETURN(MappingCheckpoint earlier, ParseCheckpoint(bytes));
    const absl::MutexLock lock(&mutex_);
    if (earlier.fingerprint != checkpoint_.fingerprint) {
      return InvalidField("checkpoint", "it belongs to another query, version or options",
                          "Start the mapping again");
    }
    checkpoint_ = std::move(earlier);
    return absl::OkStatus();
  }

  const CancelToken& cancel() const { return cancel_; }

  std::optional<TrainResult> FinishedBefore(size_t run) {
    const absl::MutexLock lock(&mutex_);
    const auto it = checkpoint_.finished.find(plan_.runs[run].name);
    if (it == checkpoint_.finished.end()) return std::nullopt;
    progress_.batches[run].done = true;
    progress_.batches[run].epoch = it->second.epochs;
    epochs_at_start_[run] = it->second.epochs;
    return it->second;
  }

  std::optional<TensorBundle> RunningBefore(size_t run) {
    const absl::MutexLock lock(&mutex_);
    const auto it = checkpoint_.running.find(plan_.runs[run].name);
    if (it == checkpoint_.running.end()) return std::nullopt;
    return it->second;
  }

  void OnEpoch(size_t run, const TrainProgress& progress) {
    const absl::MutexLock lock(&mutex_);
    BatchProgress& batch = progress_.batches[run];
    if (batch.epoch == 0) epochs_at_start_[run] = progress.epoch - 1;
    batch.epoch = progress.epoch;
    batch.loss = progress.loss;
    Report();
  }

  bool CheckpointDue() {
    if (!environment_.on_checkpoint) return false;
    const absl::MutexLock lock(&mutex_);
    return absl::Now() - last_checkpoint_ >= environment_.checkpoint_interval;
  }

  void OnCheckpoint(size_t run, const TensorBundle& bundle) {
    const absl::MutexLock lock(&mutex_);
    checkpoint_.running[plan_.runs[run].name] = bundle;
    HandOut();
  }

  void OnFinished(size_t run, const TrainResult& result) {
    const absl::MutexLock lock(&mutex_);
    checkpoint_.running.erase(plan_.runs[run].name);
    checkpoint_.finished[plan_.runs[run].name] = result;
    progress_.batches[run].done = true;
    Report();
    HandOut();
  }

  void OnError(const absl::Status& status) {
    const absl::MutexLock lock(&mutex_);
    // What follows from the first error is only its echo.
    if (error_.ok()) error_ = status;
    cancel_.Cancel();
  }

  absl::Status error() const {
    const absl::MutexLock lock(&mutex_);
    return error_;
  }

 private:
  void Report() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    double done = 0;
    double left = 0;
    for (size_t i = 0; i < plan_.runs.size(); ++i) {
      const BatchProgress& batch = progress_.batches[i];
      const auto cells = static_cast<double>(plan_.runs[i].rows.size());
      done += cells * (batch.epoch - epochs_at_start_[i]);
      if (!batch.done) left += cells * (batch.max_epochs - batch.epoch);
    }
    const double elapsed = absl::ToDoubleSeconds(absl::Now() - started_);
    progress_.eta_seconds = done > 0 ? elapsed * left / done : -1;
    if (environment_.on_progress) environment_.on_progress(progress_);
  }

  void HandOut() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!environment_.on_checkpoint) return;
    last_checkpoint_ = absl::Now();
    environment_.on_checkpoint(SerializeCheckpoint(checkpoint_));
  }

  // Constant after construction.
  const MappingPlan& plan_;
  const MappingEnvironment& environment_;
  const CancelToken cancel_;
  absl::Time started_;

  mutable absl::Mutex mutex_;
  MappingProgress progress_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> epochs_at_start_ ABSL_GUARDED_BY(mutex_);
  MappingCheckpoint checkpoint_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_checkpoint_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<FinishedRun> TrainOne(const Model& model, const Query& query,
                                     const MappingPlan& plan, size_t index, Executor& executor,
                                     Ledger& ledger) {
  const PlannedRun& run = plan.runs[index];
  FinishedRun finished;
  if (auto before = ledger.FinishedBefore(index)) {
    finished.result = *std::move(before);
    return finished;
  }
  PORTOLAN_RETURN_IF_ERROR(ledger.cancel().Check());
  const absl::Time start = absl::Now();
  const TrainingCells cells = CellsOf(query, run.rows, run.batches);
  TrainHooks hooks;
  hooks.cancel = ledger.cancel();
  hooks.on_epoch = [&](const TrainProgress& progress) { ledger.OnEpoch(index, progress); };
  hooks.checkpoint_due = [&] { return ledger.CheckpointDue(); };
  hooks.on_checkpoint = [&](const TensorBundle& bundle) { ledger.OnCheckpoint(index, bundle); };
  hooks.resume_from = ledger.RunningBefore(index);
  hooks.executor = &executor;
  PORTOLAN_ASSIGN_OR_RETURN(finished.result, Train(model, cells, run.options, hooks));
  ledger.OnFinished(index, finished.result);
  finished.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return finished;
}

// Runs one task on the executor and waits for it.
absl::StatusOr<FinishedRun> TrainOnExecutor(Executor& executor, const Model& model,
                                            const Query& query, const MappingPlan& plan,
                                            size_t index, Ledger& ledger) {
  absl::StatusOr<FinishedRun> finished = absl::InternalError("the run did not start");
  absl::BlockingCounter done(1);
  executor.Run([&] {
    finished = TrainOne(model, query, plan, index, executor, ledger);
    done.DecrementCount();
  });
  done.Wait();
  return finished;
}

absl::StatusOr<std::vector<FinishedRun>> TrainChain(const Model& model, const Query& query,
                                                    const MappingPlan& plan,
                                                    const MappingEnvironment& environment,
                                                    Ledger& ledger) {
  std::vector<FinishedRun> all;
  std::shared_ptr<const Model> last;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const Model& current = last == nullptr ? model : *last;
    PORTOLAN_ASSIGN_OR_RETURN(FinishedRun finished, TrainOnExecutor(*environment.executor, current,
                                                                    query, plan, i, ledger));
    PORTOLAN_ASSIGN_OR_RETURN(last, current.Extend(finished.result.extension));
    all.push_back(std::move(finished));
  }
  return all;
}

absl::StatusOr<std::vector<FinishedRun>> TrainApart(const Model& model, const Query& query,
                                                    const MappingPlan& plan,
                                                    const MappingEnvironment& environment,
                                                    Ledger& ledger) {
  std::vector<FinishedRun> all(plan.runs.size());
  absl::BlockingCounter done(static_cast<int>(plan.runs.size()));
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    environment.executor->Run([&, i] {
      auto finished = TrainOne(model, query, plan, i, *environment.executor, ledger);
      if (finished.ok()) {
        all[i] = *std::move(finished);
      } else {
        ledger.OnError(finished.status());
      }
      done.DecrementCount();
    });
  }
  done.Wait();
  PORTOLAN_RETURN_IF_ERROR(ledger.error());
  return all;
}

}  // namespace

absl::StatusOr<std::vector<FinishedRun>> TrainRuns(const Model& model, const Query& query,
                                                   const MappingPlan& plan,
                                                   const std::string& fingerprint,
                                                   const MappingEnvironment& environment) {
  Ledger ledger(plan, fingerprint, environment);
  if (!environment.resume_from.empty()) {
    PORTOLAN_RETURN_IF_ERROR(ledger.Resume(environment.resume_from));
  }
  return plan.strategy == Strategy::kChain ? TrainChain(model, query, plan, environment, ledger)
                                           : TrainApart(model, query, plan, environment, ledger);
}

}  // namespace portolan
