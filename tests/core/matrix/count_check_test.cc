#include "core/matrix/count_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/base/field_error.h"

namespace portolan {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <typename T>
class CountCheckTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(CountCheckTest, Types);

template <typename T>
std::string MessageFor(T value, const std::string& field = "X") {
  std::vector<T> values(37, T{1});
  values[35] = value;
  return std::string(CountCheck(field).Check(12, std::span<const T>(values)).message());
}

TYPED_TEST(CountCheckTest, AcceptsWholeNumbersUpTo2To24) {
  std::vector<TypeParam> values = {0, TypeParam(-0.0), 1, 2, 8388607, 8388608, 8388609, 16777216};
  for (int i = 0; i < 5000; ++i) values.push_back(static_cast<TypeParam>(i * 3355));
  EXPECT_TRUE(CountCheck("X").Check(0, std::span<const TypeParam>(values)).ok());
}

TYPED_TEST(CountCheckTest, RefusesTheRestAndSaysWhatAndWhere) {
  using Limits = std::numeric_limits<TypeParam>;
  EXPECT_THAT(MessageFor(TypeParam(0.5)),
              AllOf(HasSubstr("0.5 in row 12"), HasSubstr("fractional"), HasSubstr("layers/NAME")));
  EXPECT_THAT(MessageFor(TypeParam(4194303.5)), HasSubstr("fractional"));
  EXPECT_THAT(MessageFor(TypeParam(-1)), HasSubstr("negative"));
  EXPECT_THAT(MessageFor(TypeParam(16777218)), HasSubstr("2^24"));
  EXPECT_THAT(MessageFor(Limits::max()), HasSubstr("2^24"));
  EXPECT_THAT(MessageFor(Limits::quiet_NaN()), HasSubstr("not a finite"));
  EXPECT_THAT(MessageFor(Limits::infinity()), HasSubstr("not a finite"));
  EXPECT_THAT(MessageFor(-Limits::infinity()), HasSubstr("not a finite"));
  EXPECT_THAT(MessageFor(Limits::denorm_min()), HasSubstr("fractional"));
}

TEST(CountCheck, NamesTheField) {
  const std::vector<float> values = {0.5f};
  const auto status = CountCheck("layers/norm").Check(0, std::span<const float>(values));
  EXPECT_EQ(GetFieldViolation(status)->field, "layers/norm");
}

}  // namespace
}  // namespace portolan
