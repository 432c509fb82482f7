#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace portolan::client {

/// `text` without what could steer a terminal: control bytes become '?'. For all human output that
/// holds names from files or servers.
std::string Printable(std::string_view text);

/// An error as lines for people:
///     error: FIELD: MESSAGE
///       found: ...
///       remedy: ...
/// or "error: MESSAGE" where the status carries no field violation.
std::string ErrorText(const absl::Status& status);

/// The same as one line of JSON: {"error": {"code", "message", "field", "found", "remedy"}}; the
/// last three only with a field violation. `code` is the name of the gRPC code.
std::string ErrorJson(const absl::Status& status);

}  // namespace portolan::client
