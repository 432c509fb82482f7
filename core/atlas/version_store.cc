#include "core/atlas/version_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/archive/tensor_bundle.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;

constexpr char kExtensionFile[] = "extension.safetensors";
constexpr char kManifestFile[] = "manifest.json";
constexpr size_t kIdDigits = 16;

absl::Status CannotWrite(const fs::path& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot write ", path.string(), ": ", std::strerror(errno)));
}

// Writes under a temporary name, syncs, renames.
absl::Status WriteWhole(const fs::path& path, const std::string& bytes) {
  const fs::path temporary = path.string() + ".partial";
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return CannotWrite(temporary);
  size_t written = 0;
  bool good = true;
  while (good && written < bytes.size()) {
    const ssize_t n = write(file, bytes.data() + written, bytes.size() - written);
    good = n > 0 || (n < 0 && errno == EINTR);
    if (n > 0) written += static_cast<size_t>(n);
  }
  good = good && fsync(file) == 0;
  good = close(file) == 0 && good;
  if (!good || rename(temporary.c_str(), path.c_str()) != 0) return CannotWrite(path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWhole(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.good() && !in.eof()) return absl::NotFoundError(absl::StrCat("no ", path.string()));
  return bytes;
}

absl::StatusOr<StoredVersion> LoadVersion(const fs::path& directory) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::string text, ReadWhole(directory / kManifestFile));
  const auto manifest = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) return absl::DataLossError("its manifest is no JSON object");
  for (const char* field : {"id", "parent", "sha256", "create_time"}) {
    if (!manifest.contains(field) || !manifest[field].is_string()) {
      return absl::DataLossError(absl::StrCat("its manifest lacks '", field, "'"));
    }
  }
  PORTOLAN_ASSIGN_OR_RETURN(const std::string bytes, ReadWhole(directory / kExtensionFile));
  if (Sha256Hex(bytes) != manifest["sha256"].get<std::string>()) {
    return absl::DataLossError(absl::StrCat(kExtensionFile, " does not match its checksum"));
  }
  StoredVersion version;
  version.id = manifest["id"].get<std::string>();
  version.parent_id = manifest["parent"].get<std::string>();
  if (version.id != VersionId(version.parent_id, bytes)) {
    return absl::DataLossError("its id does not match its content");
  }
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, manifest["create_time"].get<std::string>(),
                       &version.create_time, &error)) {
    return absl::DataLossError(absl::StrCat("its create_time is unreadable: ", error));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const TensorBundle bundle, ParseBundle(bytes));
  PORTOLAN_ASSIGN_OR_RETURN(version.extension, ExtensionFromBundle(bundle));
  return version;
}

}  // namespace

std::string VersionId(const std::string& parent_id, const std::string& extension_bytes) {
  return Sha256Hex(absl::StrCat(parent_id, "\n", extension_bytes)).substr(0, kIdDigits);
}

absl::Status StoreVersion(const std::string& directory, const StoredVersion& version) {
  const fs::path target = fs::path(directory) / version.id;
  std::error_code error;
  fs::create_directories(target, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot make ", target.string(), ": ", error.message()));
  }
  const std::string bytes = SerializeBundle(ToBundle(version.extension));
  PORTOLAN_RETURN_IF_ERROR(WriteWhole(target / kExtensionFile, bytes));
  const nlohmann::json manifest = {
      {"format", "portolan-version-1"},
      {"id", version.id},
      {"parent", version.parent_id},
      {"batches", version.extension.batches},
      {"kind", version.extension.is_adapter() ? "adapter" : "full delta"},
      {"sha256", Sha256Hex(bytes)},
      {"create_time",
       absl::FormatTime(absl::RFC3339_full, version.create_time, absl::UTCTimeZone())}};
  return WriteWhole(target / kManifestFile, manifest.dump(2));
}

absl::StatusOr<std::vector<StoredVersion>> LoadVersions(const std::string& directory,
                                                        std::vector<std::string>& warnings) {
  std::vector<StoredVersion> versions;
  std::error_code error;
  if (!fs::is_directory(directory, error)) return versions;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (!fs::exists(entry.path() / kManifestFile, error)) continue;  // never finished
    auto version = LoadVersion(entry.path());
    if (version.ok()) {
      versions.push_back(*std::move(version));
    } else {
      warnings.push_back(absl::StrCat("version ", entry.path().filename().string(),
                                      " is left out: ", version.status().message()));
    }
  }
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  return versions;
}

}  // namespace portolan
