#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace portolan::server {

enum class LogLevel { kInfo, kWarning, kError };

using LogFields = std::vector<std::pair<std::string_view, std::string>>;

/// "2024-05-01T12:00:00.000Z INFO event key=value key="two words"". Values with spaces, quotes or
/// control characters are quoted and escaped, so that one event is always one line.
std::string FormatLogLine(absl::Time time, LogLevel level, std::string_view event,
                          const LogFields& fields);

/// A status as a log value: code and message, without payloads.
std::string LogText(const absl::Status& status);

/// Writes one line to stderr, whole. Thread-safe.
void Log(LogLevel level, std::string_view event, const LogFields& fields = {});

/// From now on gRPC's own errors come as events of this log.
void AdoptGrpcLog();

}  // namespace portolan::server
