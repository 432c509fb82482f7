#include "server/catalog.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/resource_names.h"

namespace portolan::server {
namespace {

absl::StatusOr<Atlas*> FindById(const AtlasCatalog& catalog, std::string_view field,
                                const std::string& id) {
  const auto found = catalog.atlases.find(id);
  if (found != catalog.atlases.end()) return found->second.get();
  const auto refused = catalog.refused.find(id);
  if (refused != catalog.refused.end()) {
    return FieldError(
        absl::StatusCode::kNotFound, field,
        absl::StrCat("atlas \"", id, "\" could not be opened: ", refused->second.message()),
        "Mend its model directory and restart the server.");
  }
  std::vector<std::string> names;
  for (const auto& [name, atlas] : catalog.atlases) names.push_back(name);
  return FieldError(absl::StatusCode::kNotFound, field, absl::StrCat("no atlas \"", id, "\""),
                    names.empty()
                        ? std::string("This server has no atlases.")
                        : absl::StrCat("Atlases here: ", absl::StrJoin(names, ", "), "."));
}

}  // namespace

absl::StatusOr<Atlas*> FindAtlas(const AtlasCatalog& catalog, std::string_view field,
                                 std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseAtlasName(field, name));
  return FindById(catalog, field, id);
}

absl::StatusOr<ResolvedVersion> FindVersion(const AtlasCatalog& catalog, std::string_view field,
                                            std::string_view name) {
  PORTOLAN_ASSIGN_OR_RETURN(const VersionName parsed, ParseVersionName(field, name));
  ResolvedVersion resolved;
  PORTOLAN_ASSIGN_OR_RETURN(resolved.atlas, FindById(catalog, field, parsed.atlas));
  PORTOLAN_ASSIGN_OR_RETURN(resolved.version, resolved.atlas->Find(parsed.version));
  return resolved;
}

}  // namespace portolan::server
