#pragma once

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/executor.h"

namespace portolan::server {

/// A fixed number of threads that take tasks first in, first out. Thread-safe. The destructor runs
/// what is queued, then joins; nothing may be queued from then on but by the tasks themselves.
class ThreadPool : public Executor {
 public:
  /// `name`: of the threads, as the system's tools show it (15 characters at most).
  ThreadPool(std::string name, int threads);
  ~ThreadPool() override;

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(std::function<void()> task) override;

  int threads() const override { return static_cast<int>(threads_.size()); }
  bool RunIfIdle(std::function<void()> task) override;
  bool HasWaiting() const override;

 private:
  void Work(const std::string& name);

  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;  // threads that wait for a task
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace portolan::server
