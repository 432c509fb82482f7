#include "core/atlas/compose.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

using VersionPtr = std::shared_ptr<const AtlasVersion>;

absl::Status Refused(const std::string& found, const std::string& remedy) {
  return FieldError(absl::StatusCode::kFailedPrecondition, "versions", found, remedy);
}

// Each once, by id.
absl::StatusOr<std::vector<VersionPtr>> FindAll(const Atlas& atlas,
                                                const std::vector<std::string>& ids) {
  std::map<std::string, VersionPtr> found;
  for (const std::string& id : ids) {
    PORTOLAN_ASSIGN_OR_RETURN(VersionPtr version, atlas.Find(id));
    found[version->id] = std::move(version);
  }
  if (found.size() < 2) {
    return InvalidField("versions", absl::StrCat(found.size(), " different versions"),
                        "Name two or more versions to put together");
  }
  std::vector<VersionPtr> versions;
  for (auto& [id, version] : found) versions.push_back(std::move(version));
  return versions;
}

// How many ids all lineages begin with alike.
size_t CommonLength(const std::vector<VersionPtr>& versions) {
  const std::vector<std::string>& first = versions[0]->lineage;
  size_t common = first.size();
  for (const VersionPtr& version : versions) {
    const auto end = std::mismatch(first.begin(), first.begin() + static_cast<int64_t>(common),
                                   version->lineage.begin(), version->lineage.end());
    common = static_cast<size_t>(end.first - first.begin());
  }
  return common;
}

absl::Status CheckApart(const std::vector<VersionPtr>& versions, size_t common) {
  for (const VersionPtr& ancestor : versions) {
    for (const VersionPtr& version : versions) {
      const auto& lineage = version->lineage;
      if (version == ancestor ||
          std::find(lineage.begin(), lineage.end(), ancestor->id) == lineage.end()) {
        continue;
      }
      return Refused(absl::StrCat("version ", version->id, " already contains ", ancestor->id),
                     absl::StrCat("Use ", version->id, ", or leave ", ancestor->id, " out"));
    }
  }
  return common > 0
             ? absl::OkStatus()
             : Refused("the versions have no common ancestor", "Compose versions of one reference");
}

// The adapters between the common ancestor and the versions, each once.
absl::StatusOr<std::vector<Extension>> Adapters(const Atlas& atlas,
                                                const std::vector<VersionPtr>& versions,
                                                size_t common) {
  std::map<std::string, VersionPtr> steps;
  for (const VersionPtr& version : versions) {
    for (size_t i = common; i < version->lineage.size(); ++i) {
      PORTOLAN_ASSIGN_OR_RETURN(steps[version->lineage[i]], atlas.Find(version->lineage[i]));
    }
  }
  std::map<std::string, std::string> owner;   // by batch
  std::map<std::string, Extension> by_batch;  // by the first batch: an order of its own
  for (const auto& [id, step] : steps) {
    if (step->extension_kind != "adapter") {
      return Refused(absl::StrCat("version ", id, " is a full delta, valid on its parent alone (",
                                  absl::StrJoin(step->full_delta_reasons, "; "), ")"),
                     "Map its batches again onto the version that the others lead to");
    }
    for (const std::string& batch : step->new_batches) {
      const auto [first, is_new] = owner.emplace(batch, id);
      if (!is_new) {
        return Refused(absl::StrCat("versions ", first->second, " and ", id, " both bring batch '",
                                    batch, "'"),
                       "Compose one of them, or map the batch again under another name");
      }
    }
    if (step->new_batches.empty()) continue;
    const auto n = static_cast<int64_t>(step->new_batches.size());
    const int64_t known = step->model->description().architecture.n_batch;
    PORTOLAN_ASSIGN_OR_RETURN(by_batch[step->new_batches[0]],
                              step->model->BatchColumns(known - n, n));
  }
  std::vector<Extension> adapters;
  for (auto& [batch, adapter] : by_batch) adapters.push_back(std::move(adapter));
  return adapters;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AtlasVersion>> ComposeVersions(
    Atlas& atlas, const std::vector<std::string>& ids) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<VersionPtr> versions, FindAll(atlas, ids));
  const size_t common = CommonLength(versions);
  PORTOLAN_RETURN_IF_ERROR(CheckApart(versions, common));
  PORTOLAN_ASSIGN_OR_RETURN(const VersionPtr base, atlas.Find(versions[0]->lineage[common - 1]));
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<Extension> adapters,
                            Adapters(atlas, versions, common));
  return atlas.Add(base, Compose(adapters));
}

}  // namespace portolan
