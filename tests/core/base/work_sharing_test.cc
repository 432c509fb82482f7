#include "core/base/work_sharing.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/mutex.h"
#include "tests/core/base/idle_threads.h"

namespace portolan {
namespace {

TEST(WorkSharing, TheCallerAloneTakesIndicesInOrder) {
  WorkSharing sharing(nullptr);
  EXPECT_EQ(sharing.workers(), 1);
  std::vector<int64_t> order;
  sharing.ForEach(5, [&](int64_t i, int64_t worker) {
    EXPECT_EQ(worker, 0);
    order.push_back(i);
  });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(WorkSharing, EveryIndexOfEveryLoopIsComputedOnce) {
  IdleThreads threads(4);
  WorkSharing sharing(&threads);
  for (int loop = 0; loop < 3000; ++loop) {
    const int64_t n = loop % 17;
    std::vector<std::atomic<int>> visits(n);
    std::vector<int64_t> sums(sharing.workers());
    sharing.ForEach(n, [&](int64_t i, int64_t worker) {
      ++visits[i];
      sums[worker] += i;
    });
    int64_t sum = 0;
    for (const int64_t part : sums) sum += part;
    EXPECT_EQ(sum, n * (n - 1) / 2);
    for (const auto& count : visits) EXPECT_EQ(count, 1);
  }
  EXPECT_EQ(threads.recruited(), 3u);
}

TEST(WorkSharing, IdleThreadsTakePart) {
  IdleThreads threads(3);
  WorkSharing sharing(&threads);
  // Each index waits for the two others.
  absl::Barrier* barrier = new absl::Barrier(3);
  std::vector<bool> present(3);
  absl::Mutex mutex;
  sharing.ForEach(3, [&](int64_t, int64_t worker) {
    {
      const absl::MutexLock lock(&mutex);
      present[worker] = true;
    }
    if (barrier->Block()) delete barrier;
  });
  EXPECT_EQ(present, (std::vector<bool>{true, true, true}));
}

TEST(WorkSharing, BusyThreadsAreLeftAlone) {
  IdleThreads threads(3);
  threads.set_idle(false);
  WorkSharing sharing(&threads);
  sharing.ForEach(100, [](int64_t, int64_t worker) { EXPECT_EQ(worker, 0); });
  EXPECT_EQ(threads.recruited(), 0u);
}

TEST(WorkSharing, HelpersMakeRoomForTasksThatWait) {
  IdleThreads threads(2);
  WorkSharing sharing(&threads);
  threads.set_waiting(true);
  // A helper leaves after each loop, and another one is asked for.
  while (threads.recruited() < 3) sharing.ForEach(2, [](int64_t, int64_t) {});
}

TEST(WorkSharing, AnExceptionReachesTheCaller) {
  IdleThreads threads(2);
  WorkSharing sharing(&threads);
  for (int64_t bad = 0; bad < 20; ++bad) {
    EXPECT_THROW(sharing.ForEach(20,
                                 [&](int64_t i, int64_t) {
                                   if (i == bad) throw std::runtime_error("bad");
                                 }),
                 std::runtime_error);
    std::atomic<int> done = 0;
    sharing.ForEach(20, [&](int64_t, int64_t) { ++done; });
    EXPECT_EQ(done, 20);
  }
}

}  // namespace
}  // namespace portolan
