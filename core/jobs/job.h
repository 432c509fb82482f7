#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace portolan {

enum class JobState { kQueued, kRunning, kSucceeded, kFailed, kCancelled };

std::string_view JobStateName(JobState state);
bool IsFinal(JobState state);

/// The legal moves: queued -> running | cancelled; running -> succeeded | failed | cancelled |
/// queued (released or lease lost). Final states have none.
bool IsLegalMove(JobState from, JobState to);

/// A job as its store knows it: what a durable store keeps in a row.
struct JobRecord {
  std::string id;
  std::string request_id;  ///< of the client; unique if not empty
  std::string spec;        ///< what to do; opaque to the store
  JobState state = JobState::kQueued;
  bool cancel_requested = false;
  int attempt = 0;    ///< claims so far
  int64_t fence = 0;  ///< grows with every claim; a stale holder's updates are refused
  absl::Time lease_until = absl::InfinitePast();
  std::string progress;    ///< last progress; opaque to the store
  std::string checkpoint;  ///< last checkpoint; opaque to the store
  std::string result;      ///< small outcome (a report); opaque to the store
  absl::Status error;      ///< of a failed job
  absl::Time create_time;
  absl::Time end_time = absl::InfiniteFuture();
  int64_t changes = 0;  ///< the store's ChangeCount() when this job last changed
};

}  // namespace portolan
