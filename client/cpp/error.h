#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "portolan/v1/mapping.pb.h"

namespace portolan::client {

/// The same code and message. A field violation in the details (google.rpc.ErrorInfo's metadata
/// `field`, `found`, `remedy`; else the first of google.rpc.BadRequest) is attached as
/// FieldViolation; details that cannot be parsed are ignored.
absl::Status FromGrpcStatus(const grpc::Status& status);

/// When the server said to try again (google.rpc.RetryInfo), if it did. Never negative.
std::optional<std::chrono::milliseconds> RetryDelay(const grpc::Status& status);

/// The error of a mapping that FAILED, with its field violation. Never OK.
absl::Status FromMappingError(const v1::Error& error);

/// kUnavailable that names the address and says how to start a server or point at another.
absl::Status ServerUnreachable(std::string_view address, std::string_view cause);

/// Whether a stream that ended so may be opened again: the connection or the server's process went
/// away, or a part arrived damaged. Not what the server refused for a reason that stays.
bool StreamMayResume(const grpc::Status& status);

}  // namespace portolan::client
