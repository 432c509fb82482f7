#include "server/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"

namespace portolan::server {
namespace {

std::shared_ptr<const MappingResult> ResultOf(int64_t cells) {
  auto result = std::make_shared<MappingResult>();
  result->cells = cells;
  result->n_latent = 1;
  result->latent.resize(cells);
  return result;
}

TEST(ResultStoreTest, DropsTheOldestBeyondTheCount) {
  ResultLimits limits;
  limits.max_results = 2;
  ResultStore store(limits);
  for (const char* id : {"a", "b", "c"}) store.Put(id, ResultOf(1));
  const absl::Status expired = store.Find("a").status();
  EXPECT_TRUE(absl::IsNotFound(expired)) << expired;
  EXPECT_THAT(GetFieldViolation(expired)->found, testing::HasSubstr("expired"));
  EXPECT_TRUE(store.Find("b").ok());
  EXPECT_TRUE(store.Find("c").ok());
}

TEST(ResultStoreTest, DropsTheOldestBeyondTheBytesButKeepsTheNewest) {
  ResultLimits limits;
  limits.max_bytes = 4 * 100;
  ResultStore store(limits);
  store.Put("a", ResultOf(50));
  store.Put("b", ResultOf(50));
  EXPECT_TRUE(store.Find("a").ok());
  store.Put("c", ResultOf(1000));
  EXPECT_FALSE(store.Find("a").ok());
  EXPECT_FALSE(store.Find("b").ok());
  EXPECT_EQ((*store.Find("c"))->cells, 1000);
}

TEST(ResultStoreTest, ASecondAttemptReplacesTheFirst) {
  ResultLimits limits;
  limits.max_bytes = 4 * 100;
  ResultStore store(limits);
  store.Put("a", ResultOf(60));
  for (int i = 0; i < 10; ++i) store.Put("b", ResultOf(40));
  EXPECT_TRUE(store.Find("a").ok()) << "replaced results must not be counted twice";
}

TEST(ResultStoreTest, AReaderKeepsWhatItHolds) {
  ResultLimits limits;
  limits.max_results = 1;
  ResultStore store(limits);
  store.Put("a", ResultOf(7));
  const auto held = *store.Find("a");
  store.Put("b", ResultOf(1));
  EXPECT_EQ(held->cells, 7);
}

}  // namespace
}  // namespace portolan::server
