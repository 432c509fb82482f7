#include "server/thread_plan.h"

#include <gtest/gtest.h>

namespace portolan::server {
namespace {

TEST(ThreadPlanTest, ReadsCpuMax) {
  EXPECT_EQ(ParseCpuMax("150000 100000\n"), 1.5);
  EXPECT_EQ(ParseCpuMax("max 100000\n"), std::nullopt);
  for (const char* text : {"", "100000", "0 100000", "-1 100000", "1 0", "a b", "1 2 3", "inf 1",
                           "nan 1", "1e308 1e-308"}) {
    EXPECT_EQ(ParseCpuMax(text), std::nullopt) << text;
  }
}

TEST(ThreadPlanTest, ReadsTheCgroupPath) {
  EXPECT_EQ(ParseCgroupPath("0::/\n"), "");
  EXPECT_EQ(ParseCgroupPath("0::/kubepods/pod1\n"), "/kubepods/pod1");
  EXPECT_EQ(ParseCgroupPath("1:cpu:/a\n0::/b\n"), "/b");
  EXPECT_EQ(ParseCgroupPath("1:cpu:/a\n"), std::nullopt);
}

TEST(ThreadPlanTest, WorkersAreCoresUnderTheQuota) {
  EXPECT_EQ(WorkersFor(8, std::nullopt), 8);
  EXPECT_EQ(WorkersFor(8, 1.5), 2);
  EXPECT_EQ(WorkersFor(8, 0.1), 1);
  EXPECT_EQ(WorkersFor(2, 64.0), 2);
  EXPECT_EQ(WorkersFor(0, std::nullopt), 1);
  EXPECT_GE(DefaultWorkers(), 1);
}

}  // namespace
}  // namespace portolan::server
