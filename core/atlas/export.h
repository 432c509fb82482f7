#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/atlas/atlas.h"

namespace portolan {

/// A version as scvi-tools saves models.
struct ExportedModel {
  std::string file;                ///< the content of model.pt
  std::string scvi_version;        ///< the release that it is written for
  std::vector<std::string> notes;  ///< what its reader should know, one sentence each
};

/// Writes `version` of `atlas` as a model.pt: the reference's file is read again for the tensors
/// that Portolan does not keep, adapters become columns, changed tensors take their places, and the
/// new batches stand in the registry. kFailedPrecondition if the reference's file is no longer the
/// one that the atlas was opened with.
absl::StatusOr<ExportedModel> ExportVersion(const Atlas& atlas, const AtlasVersion& version);

}  // namespace portolan
