#include "server/watch_hub.h"

#include <vector>

namespace portolan::server {

void WatchHub::Subscribe(const std::string& job_id, const std::shared_ptr<JobWatcher>& watcher) {
  {
    absl::MutexLock lock(&mutex_);
    if (!closed_) {
      subscriptions_[watcher.get()] = {job_id, watcher};
      return;
    }
  }
  watcher->OnClosed();
}

void WatchHub::Unsubscribe(const JobWatcher* watcher) {
  absl::MutexLock lock(&mutex_);
  subscriptions_.erase(watcher);
}

void WatchHub::Run(const std::function<void()>& housekeeping) {
  int64_t seen = 0;
  while (true) {
    // The count first: what comes after it, a change or Close(), ends the wait below. A change
    // between this call and the next is told twice rather than never.
    const int64_t count = jobs_.ChangeCount();
    if (closed()) return;
    for (const JobRecord& job : jobs_.ChangedSince(seen)) {
      // A final record never changes again, so it is counted once.
      if (IsFinal(job.state) && job.changes <= count) metrics_.MappingEnded(job.state);
      Tell(job);
    }
    seen = count;
    metrics_.SetQueueDepth(jobs_.QueueDepth());
    housekeeping();
    jobs_.WaitForChange(seen, now_() + absl::Minutes(1));
  }
}

void WatchHub::Close() {
  std::map<const JobWatcher*, Subscription> subscriptions;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    subscriptions.swap(subscriptions_);
  }
  for (const auto& [key, subscription] : subscriptions) subscription.watcher->OnClosed();
  jobs_.WakeWaiters();
}

void WatchHub::Tell(const JobRecord& job) {
  std::vector<std::shared_ptr<JobWatcher>> watchers;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [key, subscription] : subscriptions_) {
      if (subscription.job_id == job.id) watchers.push_back(subscription.watcher);
    }
  }
  // Without the lock: a watcher may unsubscribe from within.
  for (const std::shared_ptr<JobWatcher>& watcher : watchers) watcher->OnChange(job);
}

bool WatchHub::closed() const {
  absl::MutexLock lock(&mutex_);
  return closed_;
}

}  // namespace portolan::server
