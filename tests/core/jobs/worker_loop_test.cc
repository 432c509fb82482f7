#include "core/jobs/worker_loop.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "core/jobs/memory_job_store.h"
#include "tests/core/jobs/fake_clock.h"

namespace portolan {
namespace {

class WorkerLoopTest : public testing::Test {
 protected:
  WorkerLoopTest() : store_(StoreOptions()) {}
  ~WorkerLoopTest() override { Stop(); }

  MemoryJobStoreOptions StoreOptions() {
    MemoryJobStoreOptions options;
    options.now = clock_.Function();
    return options;
  }

  void Start(JobHandler handler, int work_threads = 2) {
    WorkerLoopOptions options;
    options.now = clock_.Function();
    options.lease = absl::Seconds(60);
    options.heartbeat = absl::Seconds(10);
    loop_ = std::make_unique<WorkerLoop>(store_, std::move(handler), options);
    for (int i = 0; i < work_threads; ++i) threads_.emplace_back([this] { loop_->Work(); });
    threads_.emplace_back([this] { loop_->Monitor(); });
  }

  void Stop() {
    if (loop_ != nullptr) loop_->Shutdown();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  /// The job's record, once `condition` holds.
  JobRecord Await(const std::string& id, const std::function<bool(const JobRecord&)>& condition) {
    while (true) {
      const int64_t seen = store_.ChangeCount();
      const JobRecord job = *store_.Get(id);
      if (condition(job)) return job;
      store_.WaitForChange(seen, absl::InfiniteFuture());
    }
  }

  JobRecord AwaitEnd(const std::string& id) {
    return Await(id, [](const JobRecord& job) { return IsFinal(job.state); });
  }

  /// Waits for the token as a handler does that has no work of its own.
  static absl::Status AwaitCancel(const CancelToken& cancel) {
    while (!cancel.cancelled()) std::this_thread::yield();
    return cancel.Check();
  }

  FakeClock clock_;
  MemoryJobStore store_;
  std::unique_ptr<WorkerLoop> loop_;
  std::vector<std::thread> threads_;
};

TEST_F(WorkerLoopTest, RunsJobsToTheirResults) {
  Start([](const JobContext& context) -> absl::StatusOr<std::string> {
    context.report_progress("half of " + context.job.spec);
    return "result of " + context.job.spec;
  });
  const std::string first = store_.Create("", "a")->id;
  const std::string second = store_.Create("", "b")->id;
  EXPECT_EQ(AwaitEnd(first).result, "result of a");
  const JobRecord job = AwaitEnd(second);
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(job.result, "result of b");
  EXPECT_EQ(job.progress, "half of b");
}

TEST_F(WorkerLoopTest, AnErrorFailsTheJob) {
  Start([](const JobContext&) -> absl::StatusOr<std::string> {
    return absl::InvalidArgumentError("bad query");
  });
  const JobRecord job = AwaitEnd(store_.Create("", "")->id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.error, absl::InvalidArgumentError("bad query"));
}

TEST_F(WorkerLoopTest, AnExceptionFailsTheJobAndTheLoopGoesOn) {
  Start([](const JobContext& context) -> absl::StatusOr<std::string> {
    if (context.job.spec == "throw") throw std::runtime_error("thrown");
    if (context.job.spec == "memory") throw std::bad_alloc();
    return "fine";
  });
  EXPECT_TRUE(absl::IsInternal(AwaitEnd(store_.Create("", "throw")->id).error));
  EXPECT_TRUE(absl::IsResourceExhausted(AwaitEnd(store_.Create("", "memory")->id).error));
  EXPECT_EQ(AwaitEnd(store_.Create("", "")->id).result, "fine");
}

TEST_F(WorkerLoopTest, ACancelFlipsTheTokenOfThatJobOnly) {
  absl::Notification go_on;
  Start([&](const JobContext& context) -> absl::StatusOr<std::string> {
    if (context.job.spec == "cancelled") return AwaitCancel(context.cancel);
    go_on.WaitForNotification();
    return context.cancel.cancelled() ? "flipped" : "untouched";
  });
  const std::string cancelled = store_.Create("", "cancelled")->id;
  const std::string other = store_.Create("", "other")->id;
  Await(cancelled, [](const JobRecord& job) { return job.state == JobState::kRunning; });
  ASSERT_TRUE(store_.RequestCancel(cancelled).ok());
  EXPECT_EQ(AwaitEnd(cancelled).state, JobState::kCancelled);
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(other).result, "untouched");
}

TEST_F(WorkerLoopTest, WorkThatEndsBeforeItSeesTheCancelSucceeds) {
  absl::Notification go_on;
  Start([&](const JobContext&) -> absl::StatusOr<std::string> {
    go_on.WaitForNotification();
    return "done";
  });
  const std::string id = store_.Create("", "")->id;
  Await(id, [](const JobRecord& job) { return job.state == JobState::kRunning; });
  ASSERT_TRUE(store_.RequestCancel(id).ok());
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(id).state, JobState::kSucceeded);
}

TEST_F(WorkerLoopTest, ShutdownReleasesRunningJobsWithTheirCheckpoints) {
  Start([](const JobContext& context) -> absl::StatusOr<std::string> {
    context.report_progress("started");
    const absl::Status stopped = AwaitCancel(context.cancel);
    context.save_checkpoint("half way");
    return stopped;
  });
  const std::string id = store_.Create("", "")->id;
  Await(id, [](const JobRecord& job) { return job.progress == "started"; });
  Stop();
  const JobRecord job = *store_.Get(id);
  EXPECT_EQ(job.state, JobState::kQueued);
  EXPECT_EQ(job.checkpoint, "half way");

  Start([](const JobContext& context) -> absl::StatusOr<std::string> {
    return "went on from " + context.job.checkpoint;
  });
  EXPECT_EQ(AwaitEnd(id).result, "went on from half way");
}

TEST_F(WorkerLoopTest, NothingIsClaimedAfterShutdown) {
  Start([](const JobContext&) -> absl::StatusOr<std::string> { return ""; });
  Stop();
  const std::string id = store_.Create("", "")->id;
  EXPECT_EQ(store_.Get(id)->state, JobState::kQueued);
}

TEST_F(WorkerLoopTest, HeartbeatsKeepTheLease) {
  absl::Notification go_on;
  Start(
      [&](const JobContext& context) -> absl::StatusOr<std::string> {
        context.report_progress("started");
        go_on.WaitForNotification();
        return "kept";
      },
      /*work_threads=*/1);
  const std::string id = store_.Create("", "")->id;
  const absl::Time first =
      Await(id, [](const JobRecord& job) { return job.progress == "started"; }).lease_until;
  // A heartbeat without news is no change, so there is nothing to wait for but the lease itself.
  while (store_.Get(id)->lease_until == first) {
    clock_.Advance(absl::Seconds(1));
    store_.WakeWaiters();
  }
  EXPECT_GT(store_.Get(id)->lease_until, first);
  go_on.Notify();
  const JobRecord job = AwaitEnd(id);
  EXPECT_EQ(job.result, "kept");
  EXPECT_EQ(job.attempt, 1);
}

TEST_F(WorkerLoopTest, AJobTakenOverByAnotherIsDropped) {
  Start(
      [&](const JobContext& context) -> absl::StatusOr<std::string> {
        context.report_progress("first attempt");
        return AwaitCancel(context.cancel);
      },
      /*work_threads=*/1);
  const std::string id = store_.Create("", "")->id;
  Await(id, [](const JobRecord& job) { return job.progress == "first attempt"; });
  // The monitor may renew the lease in between; some time it will be late.
  std::optional<JobRecord> taken;
  while (!taken.has_value()) {
    clock_.Advance(absl::Seconds(61));
    taken = store_.Claim(absl::Seconds(60));
  }
  ASSERT_EQ(taken->id, id);
  Stop();
  ASSERT_TRUE(store_.Succeed(id, taken->fence, "second attempt").ok());
  EXPECT_EQ(store_.Get(id)->result, "second attempt");
}

}  // namespace
}  // namespace portolan
