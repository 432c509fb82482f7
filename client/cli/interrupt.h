#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace portolan::client {

/// While it lives, the first SIGINT or SIGTERM calls `on_signal` on a thread of its own instead of
/// ending the program; the second one ends it. The former handlers come back with destruction.
/// One at a time in a process.
class InterruptGuard {
 public:
  explicit InterruptGuard(std::function<void()> on_signal);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// The signal that came, or 0.
  int signal() const { return signal_; }

 private:
  void Listen();

  std::function<void()> on_signal_;
  std::atomic<int> signal_ = 0;
  int pipe_[2] = {-1, -1};
  std::thread listener_;
};

}  // namespace portolan::client
