#include "server/status.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/field_error.h"
#include "tests/server/decode_status.h"

namespace portolan::server {
namespace {

struct StatusCase {
  absl::StatusCode code;
  grpc::StatusCode wire;
  bool bad_request;  ///< a BadRequest, if the status names a field
  bool retry;
};

class StatusTableTest : public testing::TestWithParam<StatusCase> {};

TEST_P(StatusTableTest, CarriesTheDetailsOfTheTable) {
  const StatusCase& row = GetParam();
  const grpc::Status status =
      ToGrpcStatus(FieldError(row.code, "var_names", "3 of 10 genes", "Use gene symbols."));
  EXPECT_EQ(status.error_code(), row.wire);
  EXPECT_EQ(status.error_message(), "var_names: 3 of 10 genes. Use gene symbols.");

  const DecodedStatus decoded = Decode(status);
  EXPECT_EQ(decoded.wire.code(), static_cast<int>(row.wire));
  EXPECT_EQ(decoded.wire.message(), status.error_message());
  ASSERT_TRUE(decoded.info.has_value());
  EXPECT_EQ(decoded.info->domain(), "portolan");
  EXPECT_EQ(decoded.info->reason(), absl::StatusCodeToString(row.code));
  EXPECT_EQ(decoded.field(), "var_names");
  EXPECT_EQ(decoded.found(), "3 of 10 genes");
  EXPECT_EQ(decoded.remedy(), "Use gene symbols.");
  ASSERT_EQ(decoded.bad_request.has_value(), row.bad_request);
  if (row.bad_request) {
    ASSERT_EQ(decoded.bad_request->field_violations_size(), 1);
    EXPECT_EQ(decoded.bad_request->field_violations(0).field(), "var_names");
    EXPECT_EQ(decoded.bad_request->field_violations(0).description(),
              "3 of 10 genes. Use gene symbols.");
  }
  ASSERT_EQ(decoded.retry.has_value(), row.retry);
  if (row.retry) {
    EXPECT_GT(decoded.retry->retry_delay().seconds(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllCodes, StatusTableTest,
    testing::Values(
        StatusCase{absl::StatusCode::kCancelled, grpc::CANCELLED, false, false},
        StatusCase{absl::StatusCode::kUnknown, grpc::UNKNOWN, false, false},
        StatusCase{absl::StatusCode::kInvalidArgument, grpc::INVALID_ARGUMENT, true, false},
        StatusCase{absl::StatusCode::kDeadlineExceeded, grpc::DEADLINE_EXCEEDED, false, false},
        StatusCase{absl::StatusCode::kNotFound, grpc::NOT_FOUND, false, false},
        StatusCase{absl::StatusCode::kAlreadyExists, grpc::ALREADY_EXISTS, false, false},
        StatusCase{absl::StatusCode::kPermissionDenied, grpc::PERMISSION_DENIED, false, false},
        StatusCase{absl::StatusCode::kResourceExhausted, grpc::RESOURCE_EXHAUSTED, false, true},
        StatusCase{absl::StatusCode::kFailedPrecondition, grpc::FAILED_PRECONDITION, false, false},
        StatusCase{absl::StatusCode::kAborted, grpc::ABORTED, false, false},
        StatusCase{absl::StatusCode::kOutOfRange, grpc::OUT_OF_RANGE, true, false},
        StatusCase{absl::StatusCode::kUnimplemented, grpc::UNIMPLEMENTED, false, false},
        StatusCase{absl::StatusCode::kInternal, grpc::INTERNAL, false, false},
        StatusCase{absl::StatusCode::kUnavailable, grpc::UNAVAILABLE, false, true},
        StatusCase{absl::StatusCode::kDataLoss, grpc::DATA_LOSS, true, false},
        StatusCase{absl::StatusCode::kUnauthenticated, grpc::UNAUTHENTICATED, false, false}),
    [](const auto& instance) { return absl::StatusCodeToString(instance.param.code); });

TEST(StatusTest, OkIsOk) {
  const grpc::Status status = ToGrpcStatus(absl::OkStatus());
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.error_details(), "");
}

TEST(StatusTest, AStatusWithoutAFieldHasNoMetadata) {
  const DecodedStatus decoded = Decode(ToGrpcStatus(absl::InvalidArgumentError("no")));
  EXPECT_FALSE(decoded.bad_request.has_value());
  ASSERT_TRUE(decoded.info.has_value());
  EXPECT_EQ(decoded.info->metadata_size(), 0);
}

TEST(StatusTest, HostileTextsStayBelowTheTrailersLimitAndValid) {
  for (const std::string& unit : {std::string("a"), std::string("\xff"), std::string("\xc3\xa9"),
                                  std::string("\xf0\x9f\xa7\xac"), std::string("\0", 1)}) {
    std::string text;
    while (text.size() < (1 << 20)) text += unit;
    const grpc::Status status = ToGrpcStatus(InvalidField(text, text, text));
    // In the trailer the message is percent-encoded, the details are base64.
    const size_t trailer =
        3 * status.error_message().size() + (status.error_details().size() + 2) / 3 * 4;
    EXPECT_LT(trailer, 7500u);
    EXPECT_FALSE(Decode(status).found().empty());
  }
}

TEST(ClipUtf8Test, CutsBetweenCharactersAndMendsBytes) {
  EXPECT_EQ(ClipUtf8("abc", 10), "abc");
  EXPECT_EQ(ClipUtf8("abc", 2), "ab");
  EXPECT_EQ(ClipUtf8("a\xc3\xa9", 2), "a");
  EXPECT_EQ(ClipUtf8("a\xc3\xa9", 3), "a\xc3\xa9");
  EXPECT_EQ(ClipUtf8("a\xc3", 3), "a?");
  EXPECT_EQ(ClipUtf8("\xe2\x82\xac\xf0\x9f\xa7\xac", 7), "\xe2\x82\xac\xf0\x9f\xa7\xac");
  EXPECT_EQ(ClipUtf8("\xc0\x80", 9), "??") << "overlong";
  EXPECT_EQ(ClipUtf8("\xed\xa0\x80", 9), "???") << "surrogate";
  EXPECT_EQ(ClipUtf8("\xf4\x90\x80\x80", 9), "????") << "above U+10FFFF";
}

}  // namespace
}  // namespace portolan::server
