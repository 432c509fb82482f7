#include "core/base/field_error.h"

#include <gtest/gtest.h>

namespace portolan {
namespace {

TEST(FieldError, CarriesItsPartsAndReadsAsOneSentence) {
  const absl::Status status = InvalidField("batch_key", "no column x", "Name one of: a, b");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "batch_key: no column x. Name one of: a, b");
  EXPECT_EQ(FieldError(absl::StatusCode::kNotFound, "f", "x", "y").code(),
            absl::StatusCode::kNotFound);
}

TEST(FieldError, AnyTextSurvives) {
  const std::string binary("a\0b", 3);
  for (const std::string& text :
       {std::string(), std::string(":"), std::string("3:abc12:x"), std::string("β: γ"), binary}) {
    const absl::Status status = InvalidField(text, text + ":" + text, text + "1:");
    const auto violation = GetFieldViolation(status);
    ASSERT_TRUE(violation.has_value());
    EXPECT_EQ(violation->field, text);
    EXPECT_EQ(violation->found, text + ":" + text);
    EXPECT_EQ(violation->remedy, text + "1:");
  }
}

TEST(FieldError, OtherStatusesCarryNone) {
  EXPECT_FALSE(GetFieldViolation(absl::OkStatus()).has_value());
  EXPECT_FALSE(GetFieldViolation(absl::InternalError("1:a1:b1:c")).has_value());
}

TEST(FieldError, AttachesToAStatusFromElsewhere) {
  absl::Status status = absl::UnavailableError("later");
  AttachFieldViolation(status, {"f", "x", "y"});
  EXPECT_EQ(GetFieldViolation(status)->found, "x");
}

}  // namespace
}  // namespace portolan
