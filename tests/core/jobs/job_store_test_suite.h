#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/field_error.h"
#include "core/jobs/job_store.h"
#include "tests/core/jobs/fake_clock.h"

namespace portolan {

/// The promises of JobStore, as tests that every implementation passes:
///   INSTANTIATE_TEST_SUITE_P(Memory, JobStoreTest, testing::Values(JobStoreFactory{...}));
struct JobStoreFactory {
  std::string name;
  std::function<std::unique_ptr<JobStore>(std::function<absl::Time()> now, int64_t max_queued)>
      make;
};

class JobStoreTest : public testing::TestWithParam<JobStoreFactory> {
 protected:
  static constexpr absl::Duration kLease = absl::Seconds(30);
  static constexpr int64_t kMaxQueued = 3;

  JobStoreTest() : store_(GetParam().make(clock_.Function(), kMaxQueued)) {}

  std::string CreateJob(const std::string& request_id = "", const std::string& spec = "spec") {
    const absl::StatusOr<JobRecord> job = store_->Create(request_id, spec);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->id : "";
  }

  JobRecord ClaimJob() {
    const std::optional<JobRecord> job = store_->Claim(kLease);
    EXPECT_TRUE(job.has_value());
    return job.value_or(JobRecord());
  }

  JobState StateOf(const std::string& id) { return store_->Get(id)->state; }

  FakeClock clock_;
  std::unique_ptr<JobStore> store_;
};

TEST_P(JobStoreTest, CreatesQueuedJobs) {
  const absl::StatusOr<JobRecord> job = store_->Create("request", "spec");
  ASSERT_TRUE(job.ok());
  EXPECT_FALSE(job->id.empty());
  EXPECT_EQ(job->request_id, "request");
  EXPECT_EQ(job->spec, "spec");
  EXPECT_EQ(job->state, JobState::kQueued);
  EXPECT_EQ(job->attempt, 0);
  EXPECT_EQ(job->create_time, clock_.Now());
  EXPECT_EQ(job->end_time, absl::InfiniteFuture());
  EXPECT_EQ(store_->Get(job->id)->spec, "spec");
}

TEST_P(JobStoreTest, UnknownJobsAreNotFoundByName) {
  for (const absl::Status& status :
       {store_->Get("nobody").status(), store_->RequestCancel("nobody").status(),
        store_->Succeed("nobody", 1, ""), store_->Heartbeat("nobody", 1, kLease, "").status()}) {
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("nobody"));
  }
}

TEST_P(JobStoreTest, CreateIsIdempotentByRequestId) {
  const std::string id = CreateJob("request", "spec");
  EXPECT_EQ(CreateJob("request", "spec"), id);
  EXPECT_EQ(store_->List().size(), 1u);
  const absl::Status other = store_->Create("request", "another").status();
  EXPECT_TRUE(absl::IsAlreadyExists(other)) << other;
  EXPECT_EQ(GetFieldViolation(other)->field, "request_id");
  EXPECT_EQ(store_->FindByRequestId("request")->id, id);
  EXPECT_FALSE(store_->FindByRequestId("never").has_value());
}

TEST_P(JobStoreTest, CreateIsIdempotentAfterTheJobHasEndedAndWithAFullQueue) {
  const std::string id = CreateJob("request", "spec");
  ASSERT_TRUE(store_->Succeed(id, ClaimJob().fence, "result").ok());
  for (int64_t i = 0; i < kMaxQueued; ++i) CreateJob();
  const absl::StatusOr<JobRecord> again = store_->Create("request", "spec");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id, id);
  EXPECT_EQ(again->result, "result");
}

TEST_P(JobStoreTest, JobsWithoutRequestIdAreAlwaysNew) { EXPECT_NE(CreateJob(), CreateJob()); }

TEST_P(JobStoreTest, RefusesMoreThanTheQueueHolds) {
  for (int64_t i = 0; i < kMaxQueued; ++i) CreateJob();
  EXPECT_EQ(store_->QueueDepth(), kMaxQueued);
  const absl::Status full = store_->Create("", "spec").status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  ClaimJob();
  EXPECT_EQ(store_->QueueDepth(), kMaxQueued - 1);
  EXPECT_TRUE(store_->Create("", "spec").ok());
}

TEST_P(JobStoreTest, ListsNewestFirst) {
  const std::string first = CreateJob();
  const std::string second = CreateJob();
  const std::vector<JobRecord> jobs = store_->List();
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].id, second);
  EXPECT_EQ(jobs[1].id, first);
}

TEST_P(JobStoreTest, ClaimsOldestFirst) {
  const std::string first = CreateJob();
  const std::string second = CreateJob();
  const JobRecord claimed = ClaimJob();
  EXPECT_EQ(claimed.id, first);
  EXPECT_EQ(claimed.state, JobState::kRunning);
  EXPECT_EQ(claimed.attempt, 1);
  EXPECT_EQ(claimed.lease_until, clock_.Now() + kLease);
  EXPECT_EQ(ClaimJob().id, second);
  EXPECT_FALSE(store_->Claim(kLease).has_value());
}

TEST_P(JobStoreTest, AnExpiredLeaseLetsAnotherTakeOver) {
  const std::string id = CreateJob();
  const JobRecord first = ClaimJob();
  ASSERT_TRUE(store_->SaveCheckpoint(id, first.fence, "half way").ok());
  clock_.Advance(kLease - absl::Milliseconds(1));
  EXPECT_FALSE(store_->Claim(kLease).has_value());
  clock_.Advance(absl::Milliseconds(1));
  const JobRecord second = ClaimJob();
  EXPECT_EQ(second.id, id);
  EXPECT_EQ(second.attempt, 2);
  EXPECT_GT(second.fence, first.fence);
  EXPECT_EQ(second.checkpoint, "half way");
}

TEST_P(JobStoreTest, AHeartbeatRenewsTheLease) {
  const std::string id = CreateJob();
  const JobRecord job = ClaimJob();
  clock_.Advance(kLease / 2);
  const absl::StatusOr<JobRecord> beat = store_->Heartbeat(id, job.fence, kLease, "epoch 3");
  ASSERT_TRUE(beat.ok());
  EXPECT_EQ(beat->progress, "epoch 3");
  EXPECT_FALSE(beat->cancel_requested);
  clock_.Advance(kLease / 2);
  EXPECT_FALSE(store_->Claim(kLease).has_value());
}

TEST_P(JobStoreTest, AStaleFenceIsAbortedAndChangesNothing) {
  const std::string id = CreateJob();
  const int64_t stale = ClaimJob().fence;
  clock_.Advance(kLease);
  const int64_t held = ClaimJob().fence;
  ASSERT_TRUE(store_->Heartbeat(id, held, kLease, "mine").ok());
  for (const absl::Status& status :
       {store_->Heartbeat(id, stale, kLease, "stale").status(),
        store_->SaveCheckpoint(id, stale, "stale"), store_->Succeed(id, stale, "stale"),
        store_->Fail(id, stale, absl::InternalError("stale")), store_->EndCancelled(id, stale),
        store_->Release(id, stale)}) {
    EXPECT_TRUE(absl::IsAborted(status)) << status;
  }
  const absl::StatusOr<JobRecord> job = store_->Get(id);
  EXPECT_EQ(job->state, JobState::kRunning);
  EXPECT_EQ(job->fence, held);
  EXPECT_EQ(job->progress, "mine");
  EXPECT_EQ(job->checkpoint, "");
  EXPECT_EQ(job->result, "");
}

TEST_P(JobStoreTest, EndsAreFinal) {
  const std::string succeeded = CreateJob();
  const std::string failed = CreateJob();
  const std::string cancelled = CreateJob();
  const int64_t fence = ClaimJob().fence;
  const int64_t failed_fence = ClaimJob().fence;
  const int64_t cancelled_fence = ClaimJob().fence;
  clock_.Advance(absl::Seconds(5));
  ASSERT_TRUE(store_->Succeed(succeeded, fence, "result").ok());
  ASSERT_TRUE(store_->Fail(failed, failed_fence, InvalidField("X", "found", "Mend it.")).ok());
  ASSERT_TRUE(store_->EndCancelled(cancelled, cancelled_fence).ok());

  EXPECT_EQ(store_->Get(succeeded)->result, "result");
  EXPECT_EQ(GetFieldViolation(store_->Get(failed)->error)->field, "X");
  EXPECT_EQ(StateOf(cancelled), JobState::kCancelled);
  for (const std::string& id : {succeeded, failed, cancelled}) {
    EXPECT_TRUE(IsFinal(StateOf(id)));
    EXPECT_EQ(store_->Get(id)->end_time, clock_.Now());
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->RequestCancel(id).status()));
  }
  EXPECT_TRUE(absl::IsAborted(store_->Succeed(succeeded, fence, "again")));
  clock_.Advance(2 * kLease);
  EXPECT_FALSE(store_->Claim(kLease).has_value());
}

TEST_P(JobStoreTest, AReleasedJobKeepsItsPlaceAndCheckpoint) {
  const std::string id = CreateJob();
  CreateJob();
  const JobRecord job = ClaimJob();
  ASSERT_TRUE(store_->SaveCheckpoint(id, job.fence, "half way").ok());
  ASSERT_TRUE(store_->Release(id, job.fence).ok());
  EXPECT_EQ(StateOf(id), JobState::kQueued);
  const JobRecord again = ClaimJob();
  EXPECT_EQ(again.id, id);
  EXPECT_EQ(again.checkpoint, "half way");
  EXPECT_EQ(again.attempt, 2);
}

TEST_P(JobStoreTest, CancelsAQueuedJobAtOnce) {
  const std::string id = CreateJob();
  const absl::StatusOr<JobRecord> job = store_->RequestCancel(id);
  ASSERT_TRUE(job.ok());
  EXPECT_EQ(job->state, JobState::kCancelled);
  EXPECT_FALSE(store_->Claim(kLease).has_value());
  EXPECT_EQ(store_->QueueDepth(), 0);
}

TEST_P(JobStoreTest, MarksARunningJob) {
  const std::string id = CreateJob();
  const JobRecord job = ClaimJob();
  ASSERT_TRUE(store_->RequestCancel(id).ok());
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  EXPECT_TRUE(store_->Heartbeat(id, job.fence, kLease, "")->cancel_requested);
  EXPECT_TRUE(store_->RequestCancel(id).ok()) << "asking twice is no error";
  ASSERT_TRUE(store_->EndCancelled(id, job.fence).ok());
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, AReleasedJobWhoseCancelWasAskedIsCancelled) {
  const std::string id = CreateJob();
  const JobRecord job = ClaimJob();
  ASSERT_TRUE(store_->RequestCancel(id).ok());
  ASSERT_TRUE(store_->Release(id, job.fence).ok());
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, ALostJobWhoseCancelWasAskedIsCancelled) {
  const std::string id = CreateJob();
  ClaimJob();
  ASSERT_TRUE(store_->RequestCancel(id).ok());
  clock_.Advance(kLease);
  EXPECT_FALSE(store_->Claim(kLease).has_value());
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, EveryChangeIsCountedAndToldOnce) {
  int64_t seen = store_->ChangeCount();
  EXPECT_THAT(store_->ChangedSince(seen), testing::IsEmpty());
  const std::string id = CreateJob();
  const std::string other = CreateJob();
  int64_t fence = 0;
  const std::vector<std::function<void()>> changes = {
      [&] { fence = ClaimJob().fence; },
      [&] { ASSERT_TRUE(store_->Heartbeat(id, fence, kLease, "epoch 1").ok()); },
      [&] { ASSERT_TRUE(store_->RequestCancel(id).ok()); },
      [&] { ASSERT_TRUE(store_->EndCancelled(id, fence).ok()); },
  };
  for (const auto& change : changes) {
    seen = store_->ChangeCount();
    change();
    EXPECT_GT(store_->ChangeCount(), seen);
    const std::vector<JobRecord> changed = store_->ChangedSince(seen);
    ASSERT_EQ(changed.size(), 1u);
    EXPECT_EQ(changed[0].id, id);
    EXPECT_EQ(changed[0].changes, store_->Get(id)->changes);
    EXPECT_GT(changed[0].changes, seen);
  }
  EXPECT_EQ(store_->ChangedSince(0).size(), 2u);
}

TEST_P(JobStoreTest, AHeartbeatWithoutNewsIsNoChange) {
  const std::string id = CreateJob();
  const int64_t fence = ClaimJob().fence;
  ASSERT_TRUE(store_->Heartbeat(id, fence, kLease, "epoch 1").ok());
  const int64_t seen = store_->ChangeCount();
  ASSERT_TRUE(store_->Heartbeat(id, fence, kLease, "epoch 1").ok());
  EXPECT_EQ(store_->ChangeCount(), seen);
}

TEST_P(JobStoreTest, WaitReturnsAtOnceWhenThereIsNewsOrTheDeadlineHasPassed) {
  const int64_t before = store_->ChangeCount();
  CreateJob();
  EXPECT_GT(store_->WaitForChange(before, absl::InfiniteFuture()), before);
  const int64_t now = store_->ChangeCount();
  EXPECT_EQ(store_->WaitForChange(now, clock_.Now()), now);
}

TEST_P(JobStoreTest, WaitersWakeOnChangesAndOnRequest) {
  const int64_t seen = store_->ChangeCount();
  std::thread waiter([&] { EXPECT_GT(store_->WaitForChange(seen, absl::InfiniteFuture()), seen); });
  CreateJob();
  waiter.join();

  const int64_t later = store_->ChangeCount();
  std::thread other([&] { store_->WaitForChange(later, absl::InfiniteFuture()); });
  store_->WakeWaiters();
  other.join();
}

TEST_P(JobStoreTest, NoJobIsClaimedTwice) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    for (int64_t i = 0; i < kMaxQueued; ++i) CreateJob();
    std::vector<std::optional<JobRecord>> claimed(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] { claimed[i] = store_->Claim(kLease); });
    }
    for (std::thread& thread : threads) thread.join();
    std::multiset<std::string> ids;
    for (const auto& job : claimed) {
      if (!job.has_value()) continue;
      ids.insert(job->id);
      ASSERT_TRUE(store_->Succeed(job->id, job->fence, "").ok());
    }
    EXPECT_EQ(ids.size(), static_cast<size_t>(kMaxQueued));
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), ids.size());
  }
}

}  // namespace portolan
