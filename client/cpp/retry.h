#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <functional>
#include <optional>

#include "core/base/cancellation.h"

namespace portolan::client {

/// How often and how patiently something that failed is tried again.
struct RetryPolicy {
  int max_attempts = 5;  ///< in a row without progress, the first one included
  std::chrono::milliseconds first_delay{200};
  std::chrono::milliseconds longest_delay{10000};
  /// Waits; returns early once the token is cancelled. Replaced in tests.
  std::function<void(std::chrono::milliseconds, const CancelToken&)> sleep = {};
};

/// Sleeps in short slices, so that a cancelled wait ends soon.
void InterruptibleSleep(std::chrono::milliseconds delay, const CancelToken& cancel);

/// The pause before attempt number `attempt` (2 is the first that waits): doubling from
/// first_delay. What the server asked for wins, also beyond longest_delay.
std::chrono::milliseconds BackoffDelay(const RetryPolicy& policy, int attempt,
                                       std::optional<std::chrono::milliseconds> asked);

/// Whether a unary call that failed so may be repeated: UNAVAILABLE, or RESOURCE_EXHAUSTED when
/// the server said when to come back.
bool UnaryMayRetry(const grpc::Status& status);

/// Counts the attempts of one piece of work. Not thread-safe.
class Retrier {
 public:
  Retrier(const RetryPolicy& policy, CancelToken cancel)
      : policy_(policy), cancel_(std::move(cancel)) {}

  /// Call after progress: the count starts anew.
  void Reset() { attempt_ = 1; }

  /// True after a pause if another attempt is allowed; false when they are used up or the work was
  /// cancelled.
  bool WaitBeforeRetry(const grpc::Status& failure);

 private:
  const RetryPolicy& policy_;
  CancelToken cancel_;
  int attempt_ = 1;
};

}  // namespace portolan::client
