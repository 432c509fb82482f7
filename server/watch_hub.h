#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/jobs/job_store.h"
#include "server/metrics.h"

namespace portolan::server {

/// Somebody who follows one job. Called from the hub's thread; must not block.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  virtual void OnChange(const JobRecord& job) = 0;
  /// No more changes will be told: the server is shutting down.
  virtual void OnClosed() = 0;
};

/// One thread that waits on the job store for all watchers, and keeps the metrics of jobs.
/// Thread-safe.
class WatchHub {
 public:
  /// Both outlive the hub. `now`: the store's clock.
  WatchHub(JobStore& jobs, Metrics& metrics, std::function<absl::Time()> now)
      : jobs_(jobs), metrics_(metrics), now_(std::move(now)) {}

  /// From now on `watcher` is told of every change of the job, with the newest record; changes in
  /// quick succession may come as one. A closed hub says so at once.
  void Subscribe(const std::string& job_id, const std::shared_ptr<JobWatcher>& watcher);
  /// A call that is under way may still arrive.
  void Unsubscribe(const JobWatcher* watcher);

  /// Tells watchers until Close(). `housekeeping` runs at least once a minute.
  void Run(const std::function<void()>& housekeeping);
  void Close();

 private:
  struct Subscription {
    std::string job_id;
    std::shared_ptr<JobWatcher> watcher;
  };

  void Tell(const JobRecord& job);
  bool closed() const;

  JobStore& jobs_;
  Metrics& metrics_;
  const std::function<absl::Time()> now_;

  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<const JobWatcher*, Subscription> subscriptions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portolan::server
