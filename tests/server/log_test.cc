#include "server/log.h"

#include <gtest/gtest.h>

#include "core/base/field_error.h"

namespace portolan::server {
namespace {

const absl::Time kTime = absl::FromUnixMillis(1'700'000'000'123);

TEST(LogTest, WritesOneLineOfTimeLevelEventAndFields) {
  EXPECT_EQ(FormatLogLine(kTime, LogLevel::kInfo, "mapping started",
                          {{"mapping", "mappings/1"}, {"attempt", "2"}}),
            "2023-11-14T22:13:20.123Z INFO mapping started mapping=mappings/1 attempt=2");
  EXPECT_EQ(FormatLogLine(kTime, LogLevel::kError, "failed", {}),
            "2023-11-14T22:13:20.123Z ERROR failed");
}

TEST(LogTest, QuotesWhatWouldBreakTheLine) {
  EXPECT_EQ(FormatLogLine(kTime, LogLevel::kWarning, "e",
                          {{"a", "two words"}, {"b", ""}, {"c", "x\ny\"z\\"}, {"d", "k=v"}}),
            "2023-11-14T22:13:20.123Z WARNING e a=\"two words\" b=\"\" c=\"x\\x0ay\\\"z\\\\\" "
            "d=\"k=v\"");
}

TEST(LogTest, AStatusIsItsCodeAndMessage) {
  EXPECT_EQ(LogText(InvalidField("X", "a", "B.")), "INVALID_ARGUMENT: X: a. B.");
}

}  // namespace
}  // namespace portolan::server
