#include "server/status.h"

#include <optional>

#include "core/base/field_error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace portolan::server {
namespace {

// The message travels three times (once percent-encoded), found and remedy twice, in base64.
constexpr size_t kMaxMessage = 600;
constexpr size_t kMaxField = 100;
constexpr size_t kMaxText = 400;

constexpr int kRetryBusySeconds = 5;
constexpr int kRetryUnavailableSeconds = 10;

bool RequestIsAtFault(absl::StatusCode code) {
  return code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kOutOfRange ||
         code == absl::StatusCode::kDataLoss;
}

/// Bytes of the UTF-8 character at `text[at]`, 0 if there is none.
size_t CharacterLength(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const size_t length = first < 0x80                     ? 1
                        : first >= 0xc2 && first < 0xe0  ? 2
                        : first >= 0xe0 && first < 0xf0  ? 3
                        : first >= 0xf0 && first <= 0xf4 ? 4
                                                         : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = at + 1; i < at + length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length > 1) {
    const unsigned char second = byte(at + 1);
    const bool bad = (first == 0xe0 && second < 0xa0) ||   // overlong
                     (first == 0xed && second >= 0xa0) ||  // surrogate
                     (first == 0xf0 && second < 0x90) ||   // overlong
                     (first == 0xf4 && second >= 0x90);    // above U+10FFFF
    if (bad) return 0;
  }
  return length;
}

}  // namespace

std::string ClipUtf8(std::string_view text, size_t max_bytes) {
  std::string clipped;
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = CharacterLength(text, at);
    if (clipped.size() + (length == 0 ? 1 : length) > max_bytes) break;
    if (length == 0) {
      clipped += '?';
      ++at;
    } else {
      clipped += text.substr(at, length);
      at += length;
    }
  }
  return clipped;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(
      ClipUtf8(std::string_view(status.message().data(), status.message().size()), kMaxMessage));

  google::rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(status.code()));
  info.set_domain("portolan");
  if (const std::optional<FieldViolation> violation = GetFieldViolation(status)) {
    const std::string field = ClipUtf8(violation->field, kMaxField);
    const std::string found = ClipUtf8(violation->found, kMaxText);
    const std::string remedy = ClipUtf8(violation->remedy, kMaxText);
    (*info.mutable_metadata())["field"] = field;
    (*info.mutable_metadata())["found"] = found;
    (*info.mutable_metadata())["remedy"] = remedy;
    if (RequestIsAtFault(status.code())) {
      google::rpc::BadRequest bad_request;
      auto* wire_violation = bad_request.add_field_violations();
      wire_violation->set_field(field);
      wire_violation->set_description(found + ". " + remedy);
      wire.add_details()->PackFrom(bad_request);
    }
  }
  wire.add_details()->PackFrom(info);
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::IsUnavailable(status) ? kRetryUnavailableSeconds
                                                                         : kRetryBusySeconds);
    wire.add_details()->PackFrom(retry);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), wire.message(),
                      wire.SerializeAsString());
}

absl::Status DrainingError() {
  return FieldError(absl::StatusCode::kUnavailable, "server", "it is shutting down",
                    "Try again; another server or the restarted one will answer.");
}

}  // namespace portolan::server
