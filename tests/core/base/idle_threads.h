#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "core/base/executor.h"

namespace portolan {

/// Says that it has `threads` threads and always one more to spare; a thread per spare task.
class IdleThreads : public Executor {
 public:
  explicit IdleThreads(int threads) : threads_(threads) {}
  ~IdleThreads() override {
    for (std::thread& thread : running_) thread.join();
  }
  void Run(std::function<void()> task) override { task(); }
  int threads() const override { return threads_; }
  bool RunIfIdle(std::function<void()> task) override {
    const absl::MutexLock lock(&mutex_);
    if (!idle_) return false;
    running_.emplace_back(std::move(task));
    return true;
  }
  bool HasWaiting() const override { return waiting_; }

  void set_idle(bool idle) { idle_ = idle; }
  void set_waiting(bool waiting) { waiting_ = waiting; }
  size_t recruited() const { return running_.size(); }

 private:
  int threads_;
  std::atomic<bool> idle_ = true;
  std::atomic<bool> waiting_ = false;
  absl::Mutex mutex_;
  std::deque<std::thread> running_;
};

}  // namespace portolan
