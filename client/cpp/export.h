#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "portolan/v1/atlas.pb.h"

namespace portolan::client {

/// A version as a file that scvi-tools opens.
struct ExportedVersion {
  v1::ExportVersionResponse::Header header;
  std::string file;  ///< the content of model.pt, checked against the header
};

/// Fetches `version` ("atlases/A/versions/V"). A broken stream is read again from the start.
/// kDataLoss when what came is not what the header says.
absl::StatusOr<ExportedVersion> ExportVersion(Client& client, const std::string& version);

}  // namespace portolan::client
