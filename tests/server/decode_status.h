#pragma once

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace portolan::server {

/// The details of an error as a generic client decodes them from the trailer.
struct DecodedStatus {
  google::rpc::Status wire;
  std::optional<google::rpc::BadRequest> bad_request;
  std::optional<google::rpc::ErrorInfo> info;
  std::optional<google::rpc::RetryInfo> retry;

  std::string Metadata(const std::string& key) const {
    return info.has_value() && info->metadata().count(key) ? info->metadata().at(key) : "";
  }
  std::string field() const { return Metadata("field"); }
  std::string found() const { return Metadata("found"); }
  std::string remedy() const { return Metadata("remedy"); }
};

inline DecodedStatus Decode(const grpc::Status& status) {
  DecodedStatus decoded;
  EXPECT_TRUE(decoded.wire.ParseFromString(status.error_details()));
  for (const google::protobuf::Any& detail : decoded.wire.details()) {
    if (google::rpc::BadRequest it; detail.UnpackTo(&it)) decoded.bad_request = it;
    if (google::rpc::ErrorInfo it; detail.UnpackTo(&it)) decoded.info = it;
    if (google::rpc::RetryInfo it; detail.UnpackTo(&it)) decoded.retry = it;
  }
  return decoded;
}

/// That a call failed with this code and named this field, with a remedy.
inline void ExpectFieldError(const grpc::Status& status, grpc::StatusCode code,
                             const std::string& field) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  const DecodedStatus decoded = Decode(status);
  EXPECT_EQ(decoded.wire.code(), static_cast<int>(code));
  EXPECT_EQ(decoded.field(), field) << status.error_message();
  EXPECT_NE(decoded.remedy(), "") << status.error_message();
}

}  // namespace portolan::server
