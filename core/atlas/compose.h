#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/atlas/atlas.h"

namespace portolan {

/// One version out of several that were made side by side: the adapters on the way to each, put
/// together on their last common ancestor. The result is the same version whatever the order of
/// `ids` (as Atlas::Find takes them), and is the one that is there already if the same content was
/// added before. kFailedPrecondition naming the version and the reason where one is a full delta
/// (valid on its own parent alone), contains another, or brings a batch that another brings, too.
absl::StatusOr<std::shared_ptr<const AtlasVersion>> ComposeVersions(
    Atlas& atlas, const std::vector<std::string>& ids);

}  // namespace portolan
