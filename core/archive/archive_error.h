#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/field_error.h"

namespace portolan {

/// absl 20220623 has its own string_view; StrCat takes only that one.
inline absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

/// InvalidField("model.pt", `found`, `remedy`); what every reader of this folder returns.
inline absl::Status ArchiveError(std::string_view found,
                                 std::string_view remedy = "Copy or save the model again") {
  return InvalidField("model.pt", found, remedy);
}

/// The same with " at byte offset N" after `found`.
inline absl::Status ArchiveErrorAt(std::string_view found, uint64_t offset,
                                   std::string_view remedy = "Copy or save the model again") {
  return ArchiveError(absl::StrCat(Absl(found), " at byte offset ", offset), remedy);
}

/// `text` as it may stand in a message: printable ASCII, at most 80 characters.
std::string Quoted(std::string_view text);

}  // namespace portolan
