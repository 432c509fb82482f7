#include "server/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"

namespace portolan::server {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskBeforeItGoes) {
  std::atomic<int> runs = 0;
  {
    ThreadPool pool("test", 3);
    for (int i = 0; i < 1000; ++i) pool.Run([&] { ++runs; });
  }
  EXPECT_EQ(runs, 1000);
}

TEST(ThreadPoolTest, ThreadsWorkAtTheSameTime) {
  ThreadPool pool("a pool with a rather long name", 4);
  EXPECT_EQ(pool.threads(), 4);
  // Each task waits for the three others.
  auto* barrier = new absl::Barrier(4);
  absl::Notification done;
  for (int i = 0; i < 4; ++i) {
    pool.Run([&, barrier] {
      if (barrier->Block()) {
        delete barrier;
        done.Notify();
      }
    });
  }
  done.WaitForNotification();
}

TEST(ThreadPoolTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    ThreadPool pool("test", 1);
    for (int i = 0; i < 100; ++i) pool.Run([&, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(ThreadPoolTest, TasksMayQueueTasks) {
  std::atomic<int> runs = 0;
  {
    ThreadPool pool("test", 2);
    pool.Run([&] { pool.Run([&] { pool.Run([&] { ++runs; }); }); });
  }
  EXPECT_EQ(runs, 1);
}

TEST(ThreadPoolTest, SpareTasksGoToIdleThreadsOnly) {
  ThreadPool pool("test", 1);
  absl::Notification release;
  absl::Notification ran;
  pool.Run([&] { release.WaitForNotification(); });
  EXPECT_FALSE(pool.RunIfIdle([] { FAIL(); }));
  pool.Run([] {});
  EXPECT_TRUE(pool.HasWaiting());
  release.Notify();
  while (!pool.RunIfIdle([&] { ran.Notify(); })) std::this_thread::yield();
  ran.WaitForNotification();
  EXPECT_FALSE(pool.HasWaiting());
}

}  // namespace
}  // namespace portolan::server
