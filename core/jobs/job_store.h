#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/jobs/job.h"

namespace portolan {

/// Jobs as rows, with leases and fencing tokens. Implementations are thread-safe. The in-memory one
/// lives as long as the process; a durable one (SQLite, PostgreSQL) keeps the same promises.
///
/// A worker claims a job, gets a fence, and names that fence in every later update; an update with
/// an old fence is kAborted and changes nothing: the worker has lost the job and stops.
class JobStore {
 public:
  virtual ~JobStore() = default;

  /// Adds a queued job and returns it. If a job with this non-empty request id exists, returns that
  /// one if its spec is equal (idempotent create), kAlreadyExists otherwise. kResourceExhausted
  /// when the queue is full.
  virtual absl::StatusOr<JobRecord> Create(const std::string& request_id,
                                           const std::string& spec) = 0;
  /// kNotFound naming the id.
  virtual absl::StatusOr<JobRecord> Get(const std::string& id) const = 0;
  /// The job that was created with this non-empty request id, if it is still kept.
  virtual std::optional<JobRecord> FindByRequestId(const std::string& request_id) const = 0;
  /// Newest first.
  virtual std::vector<JobRecord> List() const = 0;
  /// Jobs that wait for a worker.
  virtual int64_t QueueDepth() const = 0;

  /// Takes the oldest queued job, or one whose lease ran out: running, attempt and fence grown,
  /// leased for `lease`. Nothing if there is none. A job whose lease ran out after its cancel was
  /// asked ends as cancelled instead.
  virtual std::optional<JobRecord> Claim(absl::Duration lease) = 0;
  /// Renews the lease and stores progress. The returned record tells whether a cancel was asked.
  virtual absl::StatusOr<JobRecord> Heartbeat(const std::string& id, int64_t fence,
                                              absl::Duration lease,
                                              const std::string& progress) = 0;
  virtual absl::Status SaveCheckpoint(const std::string& id, int64_t fence,
                                      const std::string& checkpoint) = 0;
  virtual absl::Status Succeed(const std::string& id, int64_t fence, const std::string& result) = 0;
  virtual absl::Status Fail(const std::string& id, int64_t fence, const absl::Status& error) = 0;
  /// Ends a running job as cancelled.
  virtual absl::Status EndCancelled(const std::string& id, int64_t fence) = 0;
  /// Gives a running job back to the queue with its checkpoint (a worker that is shutting down); it
  /// keeps its place. If its cancel was asked, it ends as cancelled instead.
  virtual absl::Status Release(const std::string& id, int64_t fence) = 0;

  /// A queued job is cancelled at once, a running one is marked; kFailedPrecondition when final.
  virtual absl::StatusOr<JobRecord> RequestCancel(const std::string& id) = 0;

  /// Grows with every change of any job; see JobRecord::changes. A heartbeat that brings no news is
  /// no change.
  virtual int64_t ChangeCount() const = 0;
  /// Jobs that changed after the count was `seen`, in the order of their last change.
  virtual std::vector<JobRecord> ChangedSince(int64_t seen) const = 0;
  /// Waits until ChangeCount() exceeds `seen`, or `deadline`; returns the count. One waiter serves
  /// any number of watched jobs.
  virtual int64_t WaitForChange(int64_t seen, absl::Time deadline) const = 0;
  /// Makes all waiters return, as a change would (somebody is shutting down).
  virtual void WakeWaiters() = 0;
};

}  // namespace portolan
