#include "core/jobs/worker_loop.h"

#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portolan {

WorkerLoop::WorkerLoop(JobStore& store, JobHandler handler, WorkerLoopOptions options)
    : store_(store), handler_(std::move(handler)), options_(std::move(options)) {}

void WorkerLoop::Work() {
  while (!stopping()) {
    // Read before the claim, so that a job that comes in between ends the wait.
    const int64_t seen = store_.ChangeCount();
    const std::optional<JobRecord> job = store_.Claim(options_.lease);
    if (job.has_value()) {
      RunJob(*job);
    } else if (!stopping()) {
      // Leases of other processes run out without a change.
      store_.WaitForChange(seen, options_.now() + options_.lease);
    }
  }
}

void WorkerLoop::Monitor() {
  int64_t seen = store_.ChangeCount();
  absl::Time next_beat = options_.now() + options_.heartbeat;
  while (!(stopping() && idle())) {
    const bool beat = options_.now() >= next_beat;
    for (const std::shared_ptr<Running>& running : RunningJobs()) {
      if (beat) {
        Beat(*running);
      } else {
        Obey(*running, store_.Get(running->id));
      }
    }
    if (beat) next_beat = options_.now() + options_.heartbeat;
    if (stopping() && idle()) break;
    seen = store_.WaitForChange(seen, next_beat);
  }
}

void WorkerLoop::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    for (const std::shared_ptr<Running>& running : running_) running->cancel.Cancel();
  }
  store_.WakeWaiters();
}

void WorkerLoop::RunJob(const JobRecord& job) {
  const auto running = std::make_shared<Running>();
  running->id = job.id;
  running->fence = job.fence;
  {
    absl::MutexLock lock(&running->mutex);
    running->progress = job.progress;
  }
  {
    absl::MutexLock lock(&mutex_);
    running_.push_back(running);
    if (stopping_) running->cancel.Cancel();
  }
  // A cancel may have come before the monitor knew of the job.
  Obey(*running, store_.Get(job.id));

  JobContext context;
  context.job = job;
  context.cancel = running->cancel;
  context.report_progress = [this, running](const std::string& progress) {
    {
      absl::MutexLock lock(&running->mutex);
      running->progress = progress;
    }
    Beat(*running);
  };
  context.save_checkpoint = [this, running](const std::string& checkpoint) {
    const absl::Status saved = store_.SaveCheckpoint(running->id, running->fence, checkpoint);
    if (absl::IsAborted(saved)) running->cancel.Cancel();
  };
  End(*running, CallHandler(context));
  {
    absl::MutexLock lock(&mutex_);
    running_.remove(running);
  }
  store_.WakeWaiters();  // the monitor may be waiting for the last job
}

absl::StatusOr<std::string> WorkerLoop::CallHandler(const JobContext& context) const {
  try {
    return handler_(context);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("unexpected failure: ", error.what()));
  }
}

void WorkerLoop::End(const Running& running, const absl::StatusOr<std::string>& result) {
  // Every one of these fails with kAborted if the job was lost, which then is somebody else's.
  if (result.ok()) {
    store_.Succeed(running.id, running.fence, *result).IgnoreError();
    return;
  }
  if (!absl::IsCancelled(result.status())) {
    store_.Fail(running.id, running.fence, result.status()).IgnoreError();
    return;
  }
  const absl::StatusOr<JobRecord> record = store_.Get(running.id);
  if (record.ok() && record->cancel_requested) {
    store_.EndCancelled(running.id, running.fence).IgnoreError();
  } else if (stopping()) {
    store_.Release(running.id, running.fence).IgnoreError();
  } else {
    store_.Fail(running.id, running.fence, result.status()).IgnoreError();
  }
}

void WorkerLoop::Beat(Running& running) {
  // Held during the call: an older progress must not overtake a newer one.
  absl::MutexLock lock(&running.mutex);
  Obey(running, store_.Heartbeat(running.id, running.fence, options_.lease, running.progress));
}

void WorkerLoop::Obey(const Running& running, const absl::StatusOr<JobRecord>& record) const {
  const bool held = record.ok() && record->fence == running.fence;
  // A store that cannot be reached for a moment is no reason to stop.
  const bool lost =
      record.ok() ? !held : absl::IsAborted(record.status()) || absl::IsNotFound(record.status());
  if (lost || (held && record->cancel_requested)) running.cancel.Cancel();
}

std::list<std::shared_ptr<WorkerLoop::Running>> WorkerLoop::RunningJobs() const {
  absl::MutexLock lock(&mutex_);
  return running_;
}

bool WorkerLoop::stopping() const {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

bool WorkerLoop::idle() const {
  absl::MutexLock lock(&mutex_);
  return running_.empty();
}

}  // namespace portolan
