#include "server/resource_names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::server {
namespace {

constexpr size_t kMaxIdLength = 200;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

bool IsId(const std::string& text) {
  return !text.empty() && text.size() <= kMaxIdLength && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
         });
}

/// The ids of `name` if it reads "COLLECTION/id/COLLECTION/id...".
absl::StatusOr<std::vector<std::string>> ParseIds(std::string_view field, std::string_view name,
                                                  const std::vector<std::string>& collections,
                                                  std::string_view pattern) {
  const std::vector<std::string> parts = absl::StrSplit(Absl(name.substr(0, 1024)), '/');
  std::vector<std::string> ids;
  bool fits = parts.size() == 2 * collections.size();
  for (size_t i = 0; fits && i < collections.size(); ++i) {
    fits = parts[2 * i] == collections[i] && IsId(parts[2 * i + 1]);
    ids.push_back(parts[2 * i + 1]);
  }
  if (fits) return ids;
  const std::string found =
      name.empty() ? "empty" : absl::StrCat("\"", absl::CHexEscape(Absl(name.substr(0, 80))), "\"");
  return InvalidField(
      field, found,
      absl::StrCat("Write ", Absl(pattern),
                   "; ids are letters, digits, \"_\", \"-\" and \".\", at most 200."));
}

}  // namespace

absl::StatusOr<std::string> ParseAtlasName(std::string_view field, std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto ids, ParseIds(field, name, {"atlases"}, "atlases/{atlas}"));
  return ids[0];
}

absl::StatusOr<VersionName> ParseVersionName(std::string_view field, std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto ids, ParseIds(field, name, {"atlases", "versions"},
                                                     "atlases/{atlas}/versions/{version}"));
  return VersionName{ids[0], ids[1]};
}

absl::StatusOr<std::string> ParseUploadName(std::string_view field, std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto ids, ParseIds(field, name, {"uploads"}, "uploads/{upload}"));
  return ids[0];
}

absl::StatusOr<std::string> ParseMappingName(std::string_view field, std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto ids,
                            ParseIds(field, name, {"mappings"}, "mappings/{mapping}"));
  return ids[0];
}

std::string AtlasName(std::string_view atlas) { return absl::StrCat("atlases/", Absl(atlas)); }

std::string VersionNameOf(std::string_view atlas, std::string_view version) {
  return absl::StrCat("atlases/", Absl(atlas), "/versions/", Absl(version));
}

std::string UploadName(std::string_view upload) { return absl::StrCat("uploads/", Absl(upload)); }

std::string MappingName(std::string_view mapping) {
  return absl::StrCat("mappings/", Absl(mapping));
}

}  // namespace portolan::server
