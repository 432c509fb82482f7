#include "client/cli/error_text.h"

#include <nlohmann/json.hpp>

#include "core/base/field_error.h"

namespace portolan::client {

std::string Printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return out;
}

std::string ErrorText(const absl::Status& status) {
  const auto violation = GetFieldViolation(status);
  if (!violation) {
    return "error: " + Printable(std::string(status.message())) + "\n";
  }
  std::string what = absl::StatusCodeToString(status.code());
  if (absl::IsInvalidArgument(status)) what = "refused";
  std::string out = "error: " + Printable(violation->field) + ": " + what + "\n";
  out += "  found: " + Printable(violation->found) + "\n";
  if (!violation->remedy.empty()) out += "  remedy: " + Printable(violation->remedy) + "\n";
  return out;
}

std::string ErrorJson(const absl::Status& status) {
  nlohmann::json error = {{"code", absl::StatusCodeToString(status.code())},
                          {"message", std::string(status.message())}};
  if (const auto violation = GetFieldViolation(status)) {
    error["field"] = violation->field;
    error["found"] = violation->found;
    error["remedy"] = violation->remedy;
  }
  const nlohmann::json line = {{"error", error}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace portolan::client
