#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/jobs/job_store.h"
#include "core/jobs/random_id.h"

namespace portolan {

struct MemoryJobStoreOptions {
  int64_t max_queued = 1000;
  /// Finished jobs that are kept; the one that finished first is forgotten first.
  int64_t max_finished = 10000;
  std::function<absl::Time()> now = [] { return absl::Now(); };
  std::function<std::string()> new_id = RandomId;
};

/// A JobStore that lives as long as the process. Thread-safe.
class MemoryJobStore : public JobStore {
 public:
  explicit MemoryJobStore(MemoryJobStoreOptions options = {});

  absl::StatusOr<JobRecord> Create(const std::string& request_id, const std::string& spec) override;
  absl::StatusOr<JobRecord> Get(const std::string& id) const override;
  std::optional<JobRecord> FindByRequestId(const std::string& request_id) const override;
  std::vector<JobRecord> List() const override;
  int64_t QueueDepth() const override;

  std::optional<JobRecord> Claim(absl::Duration lease) override;
  absl::StatusOr<JobRecord> Heartbeat(const std::string& id, int64_t fence, absl::Duration lease,
                                      const std::string& progress) override;
  absl::Status SaveCheckpoint(const std::string& id, int64_t fence,
                              const std::string& checkpoint) override;
  absl::Status Succeed(const std::string& id, int64_t fence, const std::string& result) override;
  absl::Status Fail(const std::string& id, int64_t fence, const absl::Status& error) override;
  absl::Status EndCancelled(const std::string& id, int64_t fence) override;
  absl::Status Release(const std::string& id, int64_t fence) override;

  absl::StatusOr<JobRecord> RequestCancel(const std::string& id) override;

  int64_t ChangeCount() const override;
  std::vector<JobRecord> ChangedSince(int64_t seen) const override;
  int64_t WaitForChange(int64_t seen, absl::Time deadline) const override;
  void WakeWaiters() override;

 private:
  /// Position in the order of creation; the queue's order too.
  using Sequence = int64_t;

  absl::StatusOr<Sequence> Find(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The running job that `fence` still holds; kAborted if it has lost it.
  absl::StatusOr<Sequence> FindHeld(const std::string& id, int64_t fence) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Moves the job along the table of legal moves and keeps the indexes in step.
  void Move(Sequence sequence, JobState to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Touch(Sequence sequence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RequeueExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const MemoryJobStoreOptions options_;

  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  std::map<Sequence, JobRecord> jobs_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Sequence> by_id_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Sequence> by_request_id_ ABSL_GUARDED_BY(mutex_);
  std::set<Sequence> queued_ ABSL_GUARDED_BY(mutex_);
  std::set<Sequence> running_ ABSL_GUARDED_BY(mutex_);
  std::deque<Sequence> finished_ ABSL_GUARDED_BY(mutex_);  ///< in the order of finishing
  std::map<int64_t, Sequence> by_change_ ABSL_GUARDED_BY(mutex_);
  Sequence next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace portolan
