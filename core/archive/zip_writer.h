#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// A file to be put into a zip; the content must outlive the call.
struct ZipFile {
  std::string name;
  std::string_view content;
};

/// A zip of stored (not compressed) files, in the order given, each content at a multiple of 64
/// bytes, as torch.save lays it out. The same files give the same bytes: there are no times in it.
/// Beyond 4 GiB it is a zip64. InvalidField("model", ...) for a name that is too long.
absl::StatusOr<std::string> WriteZip(const std::vector<ZipFile>& files);

}  // namespace portolan
