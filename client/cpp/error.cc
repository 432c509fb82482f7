#include "client/cpp/error.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace portolan::client {
namespace {

// What details ask for, beyond an hour, is no longer a pause but an answer.
constexpr int64_t kLongestDelaySeconds = 3600;

absl::StatusCode ToCode(int code) {
  if (code <= 0 || code > static_cast<int>(absl::StatusCode::kUnauthenticated)) {
    return absl::StatusCode::kUnknown;
  }
  return static_cast<absl::StatusCode>(code);
}

bool ParseDetails(const grpc::Status& status, google::rpc::Status& details) {
  const std::string bytes = status.error_details();
  return !bytes.empty() && details.ParseFromString(bytes);
}

std::string Metadata(const google::rpc::ErrorInfo& info, const std::string& key) {
  const auto found = info.metadata().find(key);
  return found == info.metadata().end() ? std::string() : found->second;
}

// A description reads "FOUND. REMEDY".
FieldViolation SplitDescription(const google::rpc::BadRequest::FieldViolation& violation) {
  const std::string& text = violation.description();
  const size_t stop = text.find(". ");
  if (stop == std::string::npos) return {violation.field(), text, ""};
  return {violation.field(), text.substr(0, stop), text.substr(stop + 2)};
}

std::optional<FieldViolation> FindViolation(const google::rpc::Status& details) {
  std::optional<FieldViolation> from_request;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info) &&
        info.metadata().contains("field")) {
      return FieldViolation{Metadata(info, "field"), Metadata(info, "found"),
                            Metadata(info, "remedy")};
    }
    google::rpc::BadRequest request;
    if (!from_request && detail.Is<google::rpc::BadRequest>() && detail.UnpackTo(&request) &&
        request.field_violations_size() > 0) {
      from_request = SplitDescription(request.field_violations(0));
    }
  }
  return from_request;
}

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status out(ToCode(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (ParseDetails(status, details)) {
    if (const auto violation = FindViolation(details)) AttachFieldViolation(out, *violation);
  }
  return out;
}

std::optional<std::chrono::milliseconds> RetryDelay(const grpc::Status& status) {
  google::rpc::Status details;
  if (!ParseDetails(status, details)) return std::nullopt;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::RetryInfo info;
    if (!detail.Is<google::rpc::RetryInfo>() || !detail.UnpackTo(&info)) continue;
    const int64_t seconds =
        std::clamp<int64_t>(info.retry_delay().seconds(), 0, kLongestDelaySeconds);
    const int64_t millis = std::clamp<int64_t>(info.retry_delay().nanos() / 1000000, 0, 999);
    return std::chrono::milliseconds(seconds * 1000 + millis);
  }
  return std::nullopt;
}

absl::Status FromMappingError(const v1::Error& error) {
  absl::Status out(ToCode(error.code()), error.message().empty()
                                             ? "the mapping failed without a message"
                                             : error.message());
  if (!error.field().empty()) {
    AttachFieldViolation(out, {error.field(), error.found(), error.remedy()});
  }
  return out;
}

absl::Status ServerUnreachable(std::string_view address, std::string_view cause) {
  std::string found = absl::StrCat("no server answers at ", std::string(address));
  if (!cause.empty()) absl::StrAppend(&found, " (", std::string(cause), ")");
  return FieldError(
      absl::StatusCode::kUnavailable, "server", found,
      "Start one with 'portolan-server serve --atlases DIR', or point at a running one "
      "with --server ADDRESS or the environment variable PORTOLAN_SERVER");
}

bool StreamMayResume(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::DATA_LOSS:
      return true;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return RetryDelay(status).has_value();
    default:
      return false;
  }
}

}  // namespace portolan::client
