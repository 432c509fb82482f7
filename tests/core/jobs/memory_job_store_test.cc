#include "core/jobs/memory_job_store.h"

#include <gtest/gtest.h>

#include "tests/core/jobs/job_store_test_suite.h"

namespace portolan {
namespace {

INSTANTIATE_TEST_SUITE_P(Memory, JobStoreTest,
                         testing::Values(JobStoreFactory{
                             "memory",
                             [](std::function<absl::Time()> now,
                                int64_t max_queued) -> std::unique_ptr<JobStore> {
                               MemoryJobStoreOptions options;
                               options.max_queued = max_queued;
                               options.now = std::move(now);
                               return std::make_unique<MemoryJobStore>(options);
                             }}),
                         [](const auto& instance) { return instance.param.name; });

TEST(MemoryJobStoreTest, ForgetsTheJobsThatFinishedFirst) {
  MemoryJobStoreOptions options;
  options.max_finished = 2;
  MemoryJobStore store(options);
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(store.Create("request " + std::to_string(i), "spec")->id);
  }
  // Finished in another order than created; the last one still waits.
  for (const int i : {1, 0, 2}) ASSERT_TRUE(store.RequestCancel(ids[i]).ok());
  EXPECT_TRUE(absl::IsNotFound(store.Get(ids[1]).status()));
  EXPECT_FALSE(store.FindByRequestId("request 1").has_value());
  for (const int i : {0, 2, 3}) EXPECT_TRUE(store.Get(ids[i]).ok());
  EXPECT_EQ(store.List().size(), 3u);
  EXPECT_EQ(store.ChangedSince(0).size(), 3u);
}

}  // namespace
}  // namespace portolan
