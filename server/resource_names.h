#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace portolan::server {

/// Resource names, parsed strictly: "atlases/{a}", "atlases/{a}/versions/{v}", "uploads/{u}",
/// "mappings/{m}". Ids are 1 to 200 letters, digits, "_", "-", "." and do not begin with a dot.
/// Errors: InvalidField(`field`), the request's field that holds the name.

struct VersionName {
  std::string atlas;
  std::string version;
};

absl::StatusOr<std::string> ParseAtlasName(std::string_view field, std::string_view name);
absl::StatusOr<VersionName> ParseVersionName(std::string_view field, std::string_view name);
absl::StatusOr<std::string> ParseUploadName(std::string_view field, std::string_view name);
absl::StatusOr<std::string> ParseMappingName(std::string_view field, std::string_view name);

std::string AtlasName(std::string_view atlas);
std::string VersionNameOf(std::string_view atlas, std::string_view version);
std::string UploadName(std::string_view upload);
std::string MappingName(std::string_view mapping);

}  // namespace portolan::server
