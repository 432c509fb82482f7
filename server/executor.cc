#include "server/executor.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace portolan::server {

ThreadPool::ThreadPool(std::string name, int threads) {
  name.resize(std::min<size_t>(name.size(), 15));
  for (int i = 0; i < std::max(1, threads); ++i) {
    threads_.emplace_back([this, name] { Work(name); });
  }
}

ThreadPool::~ThreadPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
}

bool ThreadPool::RunIfIdle(std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  if (idle_ <= tasks_.size()) return false;
  tasks_.push_back(std::move(task));
  return true;
}

bool ThreadPool::HasWaiting() const {
  absl::MutexLock lock(&mutex_);
  return tasks_.size() > idle_;
}

void ThreadPool::Work(const std::string& name) {
  pthread_setname_np(pthread_self(), name.c_str());
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !tasks_.empty();
  };
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mutex_);
      ++idle_;
      mutex_.Await(absl::Condition(&ready));
      --idle_;
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace portolan::server
