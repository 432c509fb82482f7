#include "client/cli/error_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/field_error.h"

namespace portolan::client {
namespace {

TEST(ErrorTextTest, FieldFoundRemedy) {
  EXPECT_EQ(ErrorText(InvalidField("batch_key", "no column 'x'", "Name one.")),
            "error: batch_key: refused\n  found: no column 'x'\n  remedy: Name one.\n");
}

TEST(ErrorTextTest, PlainMessage) {
  EXPECT_EQ(ErrorText(absl::NotFoundError("no such atlas")), "error: no such atlas\n");
}

TEST(ErrorTextTest, NamesFromFilesCannotSteerTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2Jb\nc\x7f"), "a?[2Jb?c?");
  EXPECT_EQ(ErrorText(absl::NotFoundError("\x1b[31m")).find('\x1b'), std::string::npos);
}

TEST(ErrorTextTest, JsonHasCodeAndField) {
  const auto json =
      nlohmann::json::parse(ErrorJson(InvalidField("X", "0.5\xff", "Use raw.")))["error"];
  EXPECT_EQ(json["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(json["field"], "X");
  EXPECT_EQ(json["remedy"], "Use raw.");
  EXPECT_FALSE(
      nlohmann::json::parse(ErrorJson(absl::InternalError("m")))["error"].contains("field"));
}

}  // namespace
}  // namespace portolan::client
