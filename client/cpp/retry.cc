#include "client/cpp/retry.h"

#include <algorithm>
#include <thread>

#include "client/cpp/error.h"

namespace portolan::client {

void InterruptibleSleep(std::chrono::milliseconds delay, const CancelToken& cancel) {
  constexpr std::chrono::milliseconds kSlice{50};
  while (delay.count() > 0 && !cancel.cancelled()) {
    const auto now = std::min(delay, kSlice);
    std::this_thread::sleep_for(now);
    delay -= now;
  }
}

std::chrono::milliseconds BackoffDelay(const RetryPolicy& policy, int attempt,
                                       std::optional<std::chrono::milliseconds> asked) {
  auto delay = policy.first_delay;
  for (int i = 2; i < attempt && delay < policy.longest_delay; ++i) delay *= 2;
  delay = std::min(delay, policy.longest_delay);
  return asked ? *asked : delay;
}

bool UnaryMayRetry(const grpc::Status& status) {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) return true;
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         RetryDelay(status).has_value();
}

bool Retrier::WaitBeforeRetry(const grpc::Status& failure) {
  if (attempt_ >= policy_.max_attempts || cancel_.cancelled()) return false;
  ++attempt_;
  const auto delay = BackoffDelay(policy_, attempt_, RetryDelay(failure));
  if (policy_.sleep) {
    policy_.sleep(delay, cancel_);
  } else {
    InterruptibleSleep(delay, cancel_);
  }
  return !cancel_.cancelled();
}

}  // namespace portolan::client
