#include "core/base/work_sharing.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "hwy/cache_control.h"

namespace portolan {
namespace {

// Loops follow each other within microseconds; only a longer pause is worth going to sleep for.
constexpr int kSpins = 4000;

uint32_t LoopOf(uint64_t tickets) { return static_cast<uint32_t>(tickets >> 32); }
uint32_t LeftOf(uint64_t tickets) { return static_cast<uint32_t>(tickets); }

}  // namespace

WorkSharing::WorkSharing(Executor* executor)
    : executor_(executor),
      workers_(executor == nullptr ? 1 : std::max(1, executor->threads())),
      present_(workers_) {}

WorkSharing::~WorkSharing() {
  closed_.store(true);
  // A change that wakes those who wait for a loop.
  tickets_.fetch_add(uint64_t{1} << 32);
  tickets_.notify_all();
  const auto gone = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::none_of(present_.begin(), present_.end(), [](bool present) { return present; });
  };
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&gone));
}

void WorkSharing::ForEach(int64_t n, Body body) {
  if (n <= 0) return;
  if (workers_ == 1 || n == 1) {
    for (int64_t i = 0; i < n; ++i) body(i, 0);
    return;
  }
  Recruit();
  body_ = &body;
  size_ = n;
  done_.store(0);
  const uint32_t loop = LoopOf(tickets_.load()) + 1;
  tickets_.store(uint64_t{loop} << 32 | static_cast<uint64_t>(n));
  tickets_.notify_all();
  TakeIndices(loop, 0);
  // What is left are the indices that helpers have begun.
  for (int spin = 0; done_.load() < n; ++spin) {
    if (spin < kSpins) {
      hwy::Pause();
    } else {
      std::this_thread::yield();
    }
  }
  const absl::MutexLock lock(&mutex_);
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

void WorkSharing::Recruit() {
  const absl::MutexLock lock(&mutex_);
  for (int64_t worker = 1; worker < workers_; ++worker) {
    if (present_[worker]) continue;
    if (!executor_->RunIfIdle([this, worker] { Help(worker); })) return;
    present_[worker] = true;
  }
}

void WorkSharing::Help(int64_t worker) {
  uint32_t seen = LoopOf(tickets_.load());
  while (true) {
    TakeIndices(seen, worker);
    if (closed_.load() || executor_->HasWaiting()) break;
    seen = AwaitLoop(seen);
  }
  const absl::MutexLock lock(&mutex_);
  present_[worker] = false;
}

uint32_t WorkSharing::AwaitLoop(uint32_t seen) const {
  uint64_t tickets = tickets_.load();
  for (int spin = 0; LoopOf(tickets) == seen && spin < kSpins; ++spin) {
    hwy::Pause();
    tickets = tickets_.load();
  }
  while (LoopOf(tickets) == seen) {
    tickets_.wait(tickets);
    tickets = tickets_.load();
  }
  return LoopOf(tickets);
}

void WorkSharing::TakeIndices(uint32_t loop, int64_t worker) {
  uint64_t tickets = tickets_.load();
  while (LoopOf(tickets) == loop && LeftOf(tickets) > 0) {
    if (!tickets_.compare_exchange_weak(tickets, tickets - 1)) continue;
    try {
      (*body_)(size_ - LeftOf(tickets), worker);
    } catch (...) {
      const absl::MutexLock lock(&mutex_);
      if (error_ == nullptr) error_ = std::current_exception();
    }
    done_.fetch_add(1);
    tickets = tickets_.load();
  }
}

}  // namespace portolan
