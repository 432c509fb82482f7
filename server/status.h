#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace portolan::server {

/// The status as it goes over the wire: same code and message, and a google.rpc.Status in the
/// trailer with
///   BadRequest   where the request's content is at fault (INVALID_ARGUMENT, OUT_OF_RANGE,
///                DATA_LOSS) and the status names the field;
///   ErrorInfo    for every error: reason = the code's name, domain = "portolan", metadata
///                field / found / remedy where the status carries a FieldViolation;
///   RetryInfo    for RESOURCE_EXHAUSTED and UNAVAILABLE.
/// Texts are cut so that the trailer stays below gRPC's 8 KiB limit, and made valid UTF-8.
grpc::Status ToGrpcStatus(const absl::Status& status);

/// At most `max_bytes` of `text`, cut between characters; bytes that are no UTF-8 become "?".
std::string ClipUtf8(std::string_view text, size_t max_bytes);

/// Refusals that hold for every service.
absl::Status DrainingError();

}  // namespace portolan::server
