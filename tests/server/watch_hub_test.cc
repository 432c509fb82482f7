#include "server/watch_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/jobs/memory_job_store.h"

namespace portolan::server {
namespace {

class RecordingWatcher : public JobWatcher {
 public:
  void OnChange(const JobRecord& job) override {
    absl::MutexLock lock(&mutex_);
    last_ = job;
  }
  void OnClosed() override {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  JobRecord AwaitState(JobState state) {
    const auto reached = [&] { return last_.state == state && !last_.id.empty(); };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&reached));
    return last_;
  }
  bool closed() {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }

 private:
  absl::Mutex mutex_;
  JobRecord last_;
  bool closed_ = false;
};

class WatchHubTest : public testing::Test {
 protected:
  WatchHubTest() : hub_(jobs_, metrics_, absl::Now), thread_([this] { hub_.Run([] {}); }) {}
  ~WatchHubTest() override { Close(); }

  void Close() {
    hub_.Close();
    if (thread_.joinable()) thread_.join();
  }

  Metrics metrics_;
  MemoryJobStore jobs_;
  WatchHub hub_;
  std::thread thread_;
};

TEST_F(WatchHubTest, TellsEveryWatcherOfAJobItsNewestState) {
  const std::string id = jobs_.Create("", "")->id;
  const std::string other = jobs_.Create("", "")->id;
  const auto first = std::make_shared<RecordingWatcher>();
  const auto second = std::make_shared<RecordingWatcher>();
  const auto stranger = std::make_shared<RecordingWatcher>();
  hub_.Subscribe(id, first);
  hub_.Subscribe(id, second);
  hub_.Subscribe(other, stranger);
  const int64_t fence = jobs_.Claim(absl::Minutes(1))->fence;
  EXPECT_EQ(first->AwaitState(JobState::kRunning).id, id);
  EXPECT_EQ(second->AwaitState(JobState::kRunning).id, id);
  ASSERT_TRUE(jobs_.Succeed(id, fence, "result").ok());
  EXPECT_EQ(first->AwaitState(JobState::kSucceeded).result, "result");
  ASSERT_TRUE(jobs_.RequestCancel(other).ok());
  EXPECT_EQ(stranger->AwaitState(JobState::kCancelled).id, other);
}

TEST_F(WatchHubTest, ClosingTellsWatchersAndLatecomers) {
  const std::string id = jobs_.Create("", "")->id;
  const auto watcher = std::make_shared<RecordingWatcher>();
  hub_.Subscribe(id, watcher);
  Close();
  EXPECT_TRUE(watcher->closed());
  const auto late = std::make_shared<RecordingWatcher>();
  hub_.Subscribe(id, late);
  EXPECT_TRUE(late->closed());
}

TEST_F(WatchHubTest, CountsFinalStatesOnce) {
  const auto watcher = std::make_shared<RecordingWatcher>();
  std::string last;
  for (int i = 0; i < 3; ++i) {
    last = jobs_.Create("", "")->id;
    if (i == 2) hub_.Subscribe(last, watcher);
    ASSERT_TRUE(jobs_.RequestCancel(last).ok());
  }
  watcher->AwaitState(JobState::kCancelled);
  Close();
  EXPECT_THAT(metrics_.ToText(),
              testing::HasSubstr("portolan_mappings_total{state=\"cancelled\"} 3"));
  EXPECT_THAT(metrics_.ToText(), testing::HasSubstr("portolan_mappings_total{state=\"failed\"} 0"));
}

/// Closes the hub while the hub asks for the count.
class ClosingJobStore : public MemoryJobStore {
 public:
  int64_t ChangeCount() const override {
    if (hub != nullptr) hub->Close();
    return MemoryJobStore::ChangeCount();
  }
  WatchHub* hub = nullptr;
};

TEST(WatchHubCloseTest, IsNotLostBetweenTwoWaits) {
  Metrics metrics;
  ClosingJobStore jobs;
  WatchHub hub(jobs, metrics, absl::InfinitePast);  // a clock on which no wait would ever end
  jobs.hub = &hub;
  hub.Run([] {});
}

}  // namespace
}  // namespace portolan::server
