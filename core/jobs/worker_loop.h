#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/cancellation.h"
#include "core/jobs/job_store.h"

namespace portolan {

/// What a handler gets for one claimed job. The callbacks may be called from any thread, until the
/// handler returns.
struct JobContext {
  JobRecord job;       ///< as claimed; `checkpoint` says where an earlier attempt got to
  CancelToken cancel;  ///< flips when a cancel was asked, the job is lost, or the loop shuts down
  std::function<void(const std::string&)> report_progress;
  std::function<void(const std::string&)> save_checkpoint;
};

/// Does the job and returns its result. On a flipped token it saves a checkpoint, if it has one,
/// and returns kCancelled; any other error fails the job for good.
using JobHandler = std::function<absl::StatusOr<std::string>(const JobContext&)>;

struct WorkerLoopOptions {
  absl::Duration lease = absl::Seconds(60);
  absl::Duration heartbeat = absl::Seconds(10);
  std::function<absl::Time()> now = [] { return absl::Now(); };  ///< the store's clock
};

/// Claims jobs, runs the handler on them, keeps their leases, obeys cancels, and ends them:
/// succeeded, failed, cancelled, or released to the queue on shutdown. Starts no threads: its owner
/// lends one to Monitor() and, for every job that may run at once, one to Work().
/// Thread-safe. Exceptions of the handler fail the job.
class WorkerLoop {
 public:
  /// `store` is not owned and outlives the loop.
  WorkerLoop(JobStore& store, JobHandler handler, WorkerLoopOptions options = {});

  /// Claims and runs jobs until Shutdown(); returns when its last job has been ended or released.
  void Work();

  /// Renews leases and flips tokens, as soon as the store reports a change. Returns after
  /// Shutdown(), when no job runs any more.
  void Monitor();

  /// Stops claiming and flips the tokens of running jobs. Does not wait; the owner joins the
  /// threads it lent.
  void Shutdown();

 private:
  struct Running {
    std::string id;
    int64_t fence = 0;
    CancelToken cancel;
    absl::Mutex mutex;
    std::string progress ABSL_GUARDED_BY(mutex);  ///< last reported
  };

  void RunJob(const JobRecord& job);
  absl::StatusOr<std::string> CallHandler(const JobContext& context) const;
  void End(const Running& running, const absl::StatusOr<std::string>& result);
  /// Renews the lease with the last progress; flips the token if that is what the store says.
  void Beat(Running& running);
  /// Flips the token if the job is to be cancelled or belongs to somebody else by now.
  void Obey(const Running& running, const absl::StatusOr<JobRecord>& record) const;
  std::list<std::shared_ptr<Running>> RunningJobs() const;
  bool stopping() const;
  bool idle() const;

  JobStore& store_;
  const JobHandler handler_;
  const WorkerLoopOptions options_;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::shared_ptr<Running>> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portolan
