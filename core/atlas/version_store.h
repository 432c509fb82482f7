#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/model/extension.h"

namespace portolan {

/// Extensions as files: DIRECTORY/VERSION/{extension.safetensors, manifest.json}. The manifest is
/// written last and put in place by a rename, so a version is either whole or absent.

struct StoredVersion {
  std::string id;
  std::string parent_id;
  absl::Time create_time;
  Extension extension;
};

absl::Status StoreVersion(const std::string& directory, const StoredVersion& version);

/// All whole versions; `warnings` gets a sentence for each that is damaged. A directory that does
/// not exist holds none.
absl::StatusOr<std::vector<StoredVersion>> LoadVersions(const std::string& directory,
                                                        std::vector<std::string>& warnings);

/// Id of an extension of a parent: the same content has the same id wherever it is made.
std::string VersionId(const std::string& parent_id, const std::string& extension_bytes);

}  // namespace portolan
