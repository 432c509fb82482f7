#include "core/atlas/atlas.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/archive/model_files.h"
#include "core/archive/saved_model.h"
#include "core/archive/tensor_bundle.h"
#include "core/atlas/probe.h"
#include "core/atlas/version_store.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;

constexpr size_t kIdDigits = 16;
constexpr size_t kShortestPrefix = 4;

bool IsPlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
         });
}

// When the reference was saved, so that it is the oldest version after every start.
absl::Time ModelTime(const std::string& model_directory) {
  const auto files = FindModelFiles(model_directory);
  struct stat status = {};
  if (!files.ok() || stat(files->model.c_str(), &status) != 0) return absl::Now();
  return absl::TimeFromTimespec(status.st_mtim);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Atlas>> Atlas::Open(const std::string& name,
                                                   const std::string& model_directory,
                                                   const std::string& store_directory) {
  PORTOLAN_ASSIGN_OR_RETURN(const SavedModel saved, ReadSavedModel(model_directory));
  auto version = std::make_shared<AtlasVersion>();
  PORTOLAN_ASSIGN_OR_RETURN(version->model, Model::Create(saved));
  version->id = saved.digest.substr(0, kIdDigits);
  version->lineage = {version->id};
  version->extension_kind = "reference";
  version->create_time = ModelTime(model_directory);
  std::unique_ptr<Atlas> atlas(new Atlas());
  atlas->name_ = name;
  atlas->model_directory_ = model_directory;
  atlas->store_directory_ = store_directory;
  atlas->reference_ = version;
  {
    const absl::MutexLock lock(&atlas->mutex_);
    atlas->versions_.push_back(version);
  }
  if (!store_directory.empty()) PORTOLAN_RETURN_IF_ERROR(atlas->LoadStored());
  return atlas;
}

absl::Status Atlas::LoadStored() {
  PORTOLAN_ASSIGN_OR_RETURN(std::vector<StoredVersion> stored,
                            LoadVersions(store_directory_, store_warnings_));
  // Parents before children, older before younger.
  std::sort(stored.begin(), stored.end(), [](const StoredVersion& a, const StoredVersion& b) {
    return std::tie(a.create_time, a.id) < std::tie(b.create_time, b.id);
  });
  bool progress = true;
  while (progress && !stored.empty()) {
    progress = false;
    for (auto it = stored.begin(); it != stored.end(); ++it) {
      const auto parent = Find(it->parent_id);
      if (!parent.ok()) continue;
      const auto added = Append(*parent, it->extension, it->create_time, /*store=*/false);
      if (!added.ok()) {
        store_warnings_.push_back(
            absl::StrCat("version ", it->id, " is left out: ", added.status().message()));
      }
      stored.erase(it);
      progress = true;
      break;
    }
  }
  for (const StoredVersion& orphan : stored) {
    store_warnings_.push_back(absl::StrCat("version ", orphan.id, " is left out: its parent ",
                                           orphan.parent_id, " is not here"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const AtlasVersion>> Atlas::Find(const std::string& id) const {
  if (id == "reference") return reference_;
  const absl::MutexLock lock(&mutex_);
  if (id == "latest") return versions_.back();
  std::vector<std::shared_ptr<const AtlasVersion>> found;
  for (const auto& version : versions_) {
    if (version->id == id) return version;
    if (id.size() >= kShortestPrefix && absl::StartsWith(version->id, id)) found.push_back(version);
  }
  if (found.size() == 1) return found[0];
  std::vector<std::string> ids;
  for (const auto& version : versions_) ids.push_back(version->id);
  return FieldError(absl::StatusCode::kNotFound, "version",
                    absl::StrCat("atlas '", name_, "' has ", found.empty() ? "no" : "several",
                                 " versions '", id, "'"),
                    absl::StrCat("Choose one of: ", absl::StrJoin(ids, ", ")));
}

std::vector<std::shared_ptr<const AtlasVersion>> Atlas::Versions() const {
  const absl::MutexLock lock(&mutex_);
  return versions_;
}

absl::StatusOr<std::shared_ptr<const AtlasVersion>> Atlas::Add(
    const std::shared_ptr<const AtlasVersion>& parent, const Extension& extension) {
  return Append(parent, extension, absl::Now(), /*store=*/!store_directory_.empty());
}

absl::StatusOr<std::shared_ptr<const AtlasVersion>> Atlas::Append(
    const std::shared_ptr<const AtlasVersion>& parent, const Extension& extension,
    absl::Time create_time, bool store) {
  const std::string bytes = SerializeBundle(ToBundle(extension));
  auto version = std::make_shared<AtlasVersion>();
  version->id = VersionId(parent->id, bytes);
  if (auto existing = Find(version->id); existing.ok()) return existing;
  version->parent_id = parent->id;
  version->lineage = parent->lineage;
  version->lineage.push_back(version->id);
  version->new_batches = extension.batches;
  version->extension_kind = extension.is_adapter() ? "adapter" : "full delta";
  version->full_delta_reasons = extension.reasons;
  version->extension_bytes = static_cast<int64_t>(bytes.size());
  version->create_time = create_time;
  PORTOLAN_ASSIGN_OR_RETURN(version->model, parent->model->Extend(extension));
  PORTOLAN_ASSIGN_OR_RETURN(version->max_abs_probe_shift,
                            MaxProbeShift(*parent->model, *version->model));
  if (store) {
    PORTOLAN_RETURN_IF_ERROR(StoreVersion(
        store_directory_, {version->id, version->parent_id, version->create_time, extension}));
  }
  const absl::MutexLock lock(&mutex_);
  // Two jobs may have made the same content at the same time.
  for (const auto& other : versions_) {
    if (other->id == version->id) return other;
  }
  versions_.push_back(version);
  return version;
}

absl::StatusOr<AtlasCatalog> LoadAtlases(const std::string& atlases_directory,
                                         const std::string& data_directory) {
  std::error_code error;
  if (!fs::is_directory(atlases_directory, error)) {
    return FieldError(absl::StatusCode::kNotFound, "atlases",
                      absl::StrCat("'", atlases_directory, "' is no directory"),
                      "Name a directory that holds one folder per atlas, each with a model.pt");
  }
  std::set<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(atlases_directory, error)) {
    if (entry.is_directory(error)) directories.insert(entry.path());
  }
  AtlasCatalog catalog;
  for (const fs::path& directory : directories) {
    const std::string name = directory.filename().string();
    if (!IsPlainName(name)) {
      catalog.refused[name] = InvalidField("name", absl::StrCat("'", name, "'"),
                                           "Use letters, digits, '_', '-' and '.' in folder names");
      continue;
    }
    const std::string store =
        data_directory.empty()
            ? std::string()
            : (fs::path(data_directory) / "atlases" / name / "versions").string();
    auto atlas = Atlas::Open(name, directory.string(), store);
    if (atlas.ok()) {
      catalog.atlases[name] = *std::move(atlas);
    } else {
      catalog.refused[name] = atlas.status();
    }
  }
  return catalog;
}

}  // namespace portolan
