#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/atlas/atlas.h"

namespace portolan::server {

struct ResolvedVersion {
  Atlas* atlas = nullptr;  ///< the catalog's; never null
  std::shared_ptr<const AtlasVersion> version;
};

/// The atlas that "atlases/{a}" names. InvalidField(`field`) for a malformed name; kNotFound lists
/// the atlases that exist, or why this one was refused.
absl::StatusOr<Atlas*> FindAtlas(const AtlasCatalog& catalog, std::string_view field,
                                 std::string_view name);

/// The version that "atlases/{a}/versions/{v}" names; {v} as Atlas::Find() takes it.
absl::StatusOr<ResolvedVersion> FindVersion(const AtlasCatalog& catalog, std::string_view field,
                                            std::string_view name);

}  // namespace portolan::server
