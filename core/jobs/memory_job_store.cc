#include "core/jobs/memory_job_store.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {

MemoryJobStore::MemoryJobStore(MemoryJobStoreOptions options) : options_(std::move(options)) {}

absl::StatusOr<JobRecord> MemoryJobStore::Create(const std::string& request_id,
                                                 const std::string& spec) {
  absl::MutexLock lock(&mutex_);
  if (!request_id.empty()) {
    const auto found = by_request_id_.find(request_id);
    if (found != by_request_id_.end()) {
      const JobRecord& job = jobs_.at(found->second);
      if (job.spec == spec) return job;
      return FieldError(absl::StatusCode::kAlreadyExists, "request_id",
                        absl::StrCat("\"", request_id, "\" was used for another request"),
                        "Use a new request id for a new request.");
    }
  }
  if (static_cast<int64_t>(queued_.size()) >= options_.max_queued) {
    return FieldError(absl::StatusCode::kResourceExhausted, "queue",
                      absl::StrCat(queued_.size(), " jobs wait, the most there may be"),
                      "Try again when some have been done.");
  }
  const Sequence sequence = next_sequence_++;
  JobRecord& job = jobs_[sequence];
  job.id = options_.new_id();
  job.request_id = request_id;
  job.spec = spec;
  job.create_time = options_.now();
  by_id_[job.id] = sequence;
  if (!request_id.empty()) by_request_id_[request_id] = sequence;
  queued_.insert(sequence);
  Touch(sequence);
  return job;
}

absl::StatusOr<JobRecord> MemoryJobStore::Get(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, Find(id));
  return jobs_.at(sequence);
}

std::optional<JobRecord> MemoryJobStore::FindByRequestId(const std::string& request_id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = by_request_id_.find(request_id);
  if (found == by_request_id_.end()) return std::nullopt;
  return jobs_.at(found->second);
}

std::vector<JobRecord> MemoryJobStore::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<JobRecord> all;
  all.reserve(jobs_.size());
  for (auto job = jobs_.rbegin(); job != jobs_.rend(); ++job) all.push_back(job->second);
  return all;
}

int64_t MemoryJobStore::QueueDepth() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(queued_.size());
}

std::optional<JobRecord> MemoryJobStore::Claim(absl::Duration lease) {
  absl::MutexLock lock(&mutex_);
  RequeueExpired();
  if (queued_.empty()) return std::nullopt;
  const Sequence sequence = *queued_.begin();
  Move(sequence, JobState::kRunning);
  JobRecord& job = jobs_.at(sequence);
  ++job.attempt;
  ++job.fence;
  job.lease_until = options_.now() + lease;
  Touch(sequence);
  return job;
}

absl::StatusOr<JobRecord> MemoryJobStore::Heartbeat(const std::string& id, int64_t fence,
                                                    absl::Duration lease,
                                                    const std::string& progress) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  JobRecord& job = jobs_.at(sequence);
  job.lease_until = options_.now() + lease;
  if (job.progress != progress) {
    job.progress = progress;
    Touch(sequence);
  }
  return job;
}

absl::Status MemoryJobStore::SaveCheckpoint(const std::string& id, int64_t fence,
                                            const std::string& checkpoint) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  jobs_.at(sequence).checkpoint = checkpoint;
  return absl::OkStatus();
}

absl::Status MemoryJobStore::Succeed(const std::string& id, int64_t fence,
                                     const std::string& result) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  jobs_.at(sequence).result = result;
  Move(sequence, JobState::kSucceeded);
  return absl::OkStatus();
}

absl::Status MemoryJobStore::Fail(const std::string& id, int64_t fence, const absl::Status& error) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  jobs_.at(sequence).error = error;
  Move(sequence, JobState::kFailed);
  return absl::OkStatus();
}

absl::Status MemoryJobStore::EndCancelled(const std::string& id, int64_t fence) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  Move(sequence, JobState::kCancelled);
  return absl::OkStatus();
}

absl::Status MemoryJobStore::Release(const std::string& id, int64_t fence) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, FindHeld(id, fence));
  const bool cancel = jobs_.at(sequence).cancel_requested;
  Move(sequence, cancel ? JobState::kCancelled : JobState::kQueued);
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> MemoryJobStore::RequestCancel(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, Find(id));
  JobRecord& job = jobs_.at(sequence);
  if (IsFinal(job.state)) {
    const std::string_view state = JobStateName(job.state);
    return FieldError(
        absl::StatusCode::kFailedPrecondition, "state",
        absl::StrCat("job ", id, " has already ",
                     job.state == JobState::kCancelled ? "been cancelled" : std::string(state)),
        "Only queued and running jobs can be cancelled.");
  }
  if (!job.cancel_requested) {
    job.cancel_requested = true;
    Touch(sequence);
  }
  if (job.state == JobState::kQueued) Move(sequence, JobState::kCancelled);
  return jobs_.at(sequence);
}

int64_t MemoryJobStore::ChangeCount() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

std::vector<JobRecord> MemoryJobStore::ChangedSince(int64_t seen) const {
  absl::MutexLock lock(&mutex_);
  std::vector<JobRecord> changed;
  for (auto at = by_change_.upper_bound(seen); at != by_change_.end(); ++at) {
    changed.push_back(jobs_.at(at->second));
  }
  return changed;
}

int64_t MemoryJobStore::WaitForChange(int64_t seen, absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  while (changes_ <= seen) {
    // The deadline is on the injected clock, the wait on the machine's.
    const absl::Duration left = deadline - options_.now();
    if (left <= absl::ZeroDuration()) break;
    if (changed_.WaitWithTimeout(&mutex_, left)) break;
  }
  return changes_;
}

void MemoryJobStore::WakeWaiters() {
  absl::MutexLock lock(&mutex_);
  ++changes_;
  changed_.SignalAll();
}

absl::StatusOr<MemoryJobStore::Sequence> MemoryJobStore::Find(const std::string& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) {
    return FieldError(absl::StatusCode::kNotFound, "id", absl::StrCat("no job \"", id, "\""),
                      "List the jobs to see those that are kept.");
  }
  return found->second;
}

absl::StatusOr<MemoryJobStore::Sequence> MemoryJobStore::FindHeld(const std::string& id,
                                                                  int64_t fence) const {
  PORTOLAN_ASSIGN_OR_RETURN(const Sequence sequence, Find(id));
  const JobRecord& job = jobs_.at(sequence);
  if (job.state != JobState::kRunning || job.fence != fence) {
    return absl::AbortedError(absl::StrCat("job ", id, ": fence ", fence,
                                           " no longer holds it (fence ", job.fence, ", ",
                                           std::string(JobStateName(job.state)), ")"));
  }
  return sequence;
}

void MemoryJobStore::Move(Sequence sequence, JobState to) {
  JobRecord& job = jobs_.at(sequence);
  assert(IsLegalMove(job.state, to));
  queued_.erase(sequence);
  running_.erase(sequence);
  job.state = to;
  if (to == JobState::kQueued) queued_.insert(sequence);
  if (to == JobState::kRunning) running_.insert(sequence);
  if (to != JobState::kRunning) job.lease_until = absl::InfinitePast();
  Touch(sequence);
  if (IsFinal(to)) {
    job.end_time = options_.now();
    job.checkpoint.clear();
    finished_.push_back(sequence);
    ForgetOldest();
  }
}

void MemoryJobStore::Touch(Sequence sequence) {
  JobRecord& job = jobs_.at(sequence);
  by_change_.erase(job.changes);
  job.changes = ++changes_;
  by_change_[job.changes] = sequence;
  changed_.SignalAll();
}

void MemoryJobStore::RequeueExpired() {
  const absl::Time now = options_.now();
  std::vector<Sequence> expired;
  for (const Sequence sequence : running_) {
    if (jobs_.at(sequence).lease_until <= now) expired.push_back(sequence);
  }
  for (const Sequence sequence : expired) {
    const bool cancel = jobs_.at(sequence).cancel_requested;
    Move(sequence, cancel ? JobState::kCancelled : JobState::kQueued);
  }
}

void MemoryJobStore::ForgetOldest() {
  // At least the job that has just finished is kept: its caller still refers to it.
  while (static_cast<int64_t>(finished_.size()) > std::max<int64_t>(1, options_.max_finished)) {
    const auto oldest = jobs_.find(finished_.front());
    finished_.pop_front();
    by_id_.erase(oldest->second.id);
    by_change_.erase(oldest->second.changes);
    if (!oldest->second.request_id.empty()) by_request_id_.erase(oldest->second.request_id);
    jobs_.erase(oldest);
  }
}

}  // namespace portolan
