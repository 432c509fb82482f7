#include "core/jobs/job.h"

#include <array>
#include <cstddef>

namespace portolan {
namespace {

constexpr int kStates = 5;

// Row: from; column: to; both in the order of JobState.
constexpr std::array<std::array<bool, kStates>, kStates> kLegalMoves = {{
    // queued, running, succeeded, failed, cancelled
    {false, true, false, false, true},    // queued
    {true, false, true, true, true},      // running
    {false, false, false, false, false},  // succeeded
    {false, false, false, false, false},  // failed
    {false, false, false, false, false},  // cancelled
}};

}  // namespace

std::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "queued";
    case JobState::kRunning:
      return "running";
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

bool IsFinal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

bool IsLegalMove(JobState from, JobState to) {
  return kLegalMoves[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

}  // namespace portolan
