#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace portolan {

/// What a user needs to mend a bad input: which field, what was found in it, what to do.
/// Travels as a payload of absl::Status from core to the edge, where the server turns it into
/// google.rpc.BadRequest and the command line prints it.
struct FieldViolation {
  std::string field;   ///< "batch_key", "X", "model.pt", ...
  std::string found;   ///< the offending value, short
  std::string remedy;  ///< one sentence: what to do
};

/// A status whose message reads "FIELD: FOUND. REMEDY" and which carries the violation.
absl::Status FieldError(absl::StatusCode code, std::string_view field, std::string_view found,
                        std::string_view remedy);

/// FieldError with code kInvalidArgument.
absl::Status InvalidField(std::string_view field, std::string_view found, std::string_view remedy);

/// Attaches `violation` to a status of any code (used when an error comes back over the wire).
void AttachFieldViolation(absl::Status& status, const FieldViolation& violation);

/// The violation that `status` carries, if any.
std::optional<FieldViolation> GetFieldViolation(const absl::Status& status);

}  // namespace portolan
