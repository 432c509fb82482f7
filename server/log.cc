#include "server/log.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace portolan::server {
namespace {

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "INFO";
    case LogLevel::kWarning:
      return "WARNING";
    case LogLevel::kError:
      return "ERROR";
  }
  return "UNKNOWN";
}

bool IsPlain(const std::string& value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return c > ' ' && c != '"' && c != '=' && c != 0x7f;
  });
}

/// Quotes, backslashes and control characters escaped; other bytes as they are.
std::string Quoted(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < ' ' || byte == 0x7f) {
      absl::StrAppend(&quoted, "\\x", absl::Hex(byte, absl::kZeroPad2));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace

std::string LogText(const absl::Status& status) {
  const absl::string_view message = status.message();
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ", message);
}

std::string FormatLogLine(absl::Time time, LogLevel level, std::string_view event,
                          const LogFields& fields) {
  std::string line =
      absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()), " ",
                   LevelName(level), " ", absl::string_view(event.data(), event.size()));
  for (const auto& [key, value] : fields) {
    absl::StrAppend(&line, " ", absl::string_view(key.data(), key.size()), "=");
    absl::StrAppend(&line, IsPlain(value) ? value : Quoted(value));
  }
  return line;
}

void Log(LogLevel level, std::string_view event, const LogFields& fields) {
  const std::string line = FormatLogLine(absl::Now(), level, event, fields) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void AdoptGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* entry) {
    if (entry->severity != GPR_LOG_SEVERITY_ERROR) return;
    Log(LogLevel::kWarning, "grpc", {{"message", entry->message}});
  });
}

}  // namespace portolan::server
