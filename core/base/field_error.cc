#include "core/base/field_error.h"

#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace portolan {
namespace {

constexpr char kPayloadUrl[] = "type.portolan/FieldViolation";

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::Status FieldError(absl::StatusCode code, std::string_view field, std::string_view found,
                        std::string_view remedy) {
  absl::Status status(code, absl::StrCat(Absl(field), ": ", Absl(found), ". ", Absl(remedy)));
  AttachFieldViolation(status, {std::string(field), std::string(found), std::string(remedy)});
  return status;
}

absl::Status InvalidField(std::string_view field, std::string_view found, std::string_view remedy) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, found, remedy);
}

void AttachFieldViolation(absl::Status& status, const FieldViolation& violation) {
  // Three length-prefixed strings: "LENGTH:BYTES" thrice.
  std::string payload;
  for (const std::string* part : {&violation.field, &violation.found, &violation.remedy}) {
    absl::StrAppend(&payload, part->size(), ":", *part);
  }
  status.SetPayload(kPayloadUrl, absl::Cord(payload));
}

std::optional<FieldViolation> GetFieldViolation(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  std::vector<std::string> parts;
  size_t at = 0;
  while (parts.size() < 3) {
    const size_t colon = text.find(':', at);
    if (colon == std::string::npos) return std::nullopt;
    const size_t length = std::stoul(text.substr(at, colon - at));
    parts.push_back(text.substr(colon + 1, length));
    at = colon + 1 + length;
  }
  return FieldViolation{parts[0], parts[1], parts[2]};
}

}  // namespace portolan
