#include "client/cpp/error.h"

#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace portolan::client {
namespace {

grpc::Status With(grpc::StatusCode code,
                  const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status rich;
  for (const auto* detail : details) rich.add_details()->PackFrom(*detail);
  return {code, "the message", rich.SerializeAsString()};
}

google::rpc::ErrorInfo Info(const std::string& field, const std::string& found,
                            const std::string& remedy) {
  google::rpc::ErrorInfo info;
  (*info.mutable_metadata())["field"] = field;
  (*info.mutable_metadata())["found"] = found;
  (*info.mutable_metadata())["remedy"] = remedy;
  return info;
}

google::rpc::BadRequest Bad(const std::string& field, const std::string& description) {
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field(field);
  bad.mutable_field_violations(0)->set_description(description);
  return bad;
}

TEST(ErrorTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
  const absl::Status status = FromGrpcStatus({grpc::StatusCode::NOT_FOUND, "no such atlas"});
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "no such atlas");
  EXPECT_FALSE(GetFieldViolation(status).has_value());
}

TEST(ErrorTest, PrefersErrorInfoWhereverItStands) {
  const auto bad = Bad("other", "something. Else");
  const auto info = Info("batch_key", "1.5. of it", "Do. this");
  const absl::Status status =
      FromGrpcStatus(With(grpc::StatusCode::INVALID_ARGUMENT, {&bad, &info}));
  const auto violation = GetFieldViolation(status);
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->field, "batch_key");
  EXPECT_EQ(violation->found, "1.5. of it");
  EXPECT_EQ(violation->remedy, "Do. this");
}

TEST(ErrorTest, TakesBadRequestApart) {
  const auto bad = Bad("X", "0.5 in row 3. Name the raw counts");
  const auto violation =
      GetFieldViolation(FromGrpcStatus(With(grpc::StatusCode::INVALID_ARGUMENT, {&bad})));
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->field, "X");
  EXPECT_EQ(violation->remedy, "Name the raw counts");
  const auto terse = Bad("X", "nonsense");
  EXPECT_EQ(
      GetFieldViolation(FromGrpcStatus(With(grpc::StatusCode::INVALID_ARGUMENT, {&terse})))->found,
      "nonsense");
}

TEST(ErrorTest, HostileDetailsAreIgnored) {
  const absl::Status status = FromGrpcStatus({grpc::StatusCode::INTERNAL, "m", "\xff\xff\x01"});
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_FALSE(GetFieldViolation(status).has_value());
  const google::rpc::ErrorInfo empty;
  EXPECT_FALSE(
      GetFieldViolation(FromGrpcStatus(With(grpc::StatusCode::INTERNAL, {&empty}))).has_value());
}

TEST(ErrorTest, ReadsRetryInfo) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(2);
  info.mutable_retry_delay()->set_nanos(5000000);
  EXPECT_EQ(RetryDelay(With(grpc::StatusCode::UNAVAILABLE, {&info}))->count(), 2005);
  info.mutable_retry_delay()->set_seconds(-7);
  info.mutable_retry_delay()->set_nanos(-1);
  EXPECT_EQ(RetryDelay(With(grpc::StatusCode::UNAVAILABLE, {&info}))->count(), 0);
  info.mutable_retry_delay()->set_seconds(INT64_MAX);
  EXPECT_LE(RetryDelay(With(grpc::StatusCode::UNAVAILABLE, {&info}))->count(), 3600 * 1000);
  EXPECT_FALSE(RetryDelay({grpc::StatusCode::UNAVAILABLE, "m"}).has_value());
}

TEST(ErrorTest, MappingErrorsCarryTheirField) {
  v1::Error error;
  error.set_code(grpc::StatusCode::INVALID_ARGUMENT);
  error.set_message("m");
  error.set_field("X");
  error.set_found("f");
  error.set_remedy("r");
  EXPECT_EQ(GetFieldViolation(FromMappingError(error))->remedy, "r");
  EXPECT_FALSE(FromMappingError(v1::Error()).ok());
}

TEST(ErrorTest, UnreachableNamesTheAddressAndTheWayOut) {
  const absl::Status status = ServerUnreachable("host:1", "refused");
  EXPECT_TRUE(absl::IsUnavailable(status));
  const auto violation = GetFieldViolation(status);
  EXPECT_NE(violation->found.find("host:1"), std::string::npos);
  EXPECT_NE(violation->remedy.find("PORTOLAN_SERVER"), std::string::npos);
}

TEST(ErrorTest, WhatMayResume) {
  EXPECT_TRUE(StreamMayResume({grpc::StatusCode::UNAVAILABLE, ""}));
  EXPECT_TRUE(StreamMayResume({grpc::StatusCode::DATA_LOSS, ""}));
  EXPECT_FALSE(StreamMayResume({grpc::StatusCode::INVALID_ARGUMENT, ""}));
  EXPECT_FALSE(StreamMayResume({grpc::StatusCode::RESOURCE_EXHAUSTED, ""}));
  const google::rpc::RetryInfo info;
  EXPECT_TRUE(StreamMayResume(With(grpc::StatusCode::RESOURCE_EXHAUSTED, {&info})));
}

}  // namespace
}  // namespace portolan::client
