#include "core/archive/model_files.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/archive/archive_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModel = "model.pt";
constexpr std::string_view kParameters = "model_params.pt";
constexpr size_t kMostEntries = 10'000;  // a folder of models is small

struct Listing {
  std::set<std::string> files;
  std::set<std::string> folders;
};

absl::StatusOr<Listing> List(const fs::path& directory) {
  Listing listing;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const bool folder = it->is_directory(error);
    (folder ? listing.folders : listing.files).insert(it->path().filename().string());
    if (listing.files.size() + listing.folders.size() > kMostEntries) {
      return ArchiveError(
          absl::StrCat("more than ", kMostEntries, " files in '", directory.string(), "'"),
          "Name the directory that holds only the saved model");
    }
  }
  return listing;
}

/// The prefixes of the files that are called PREFIX + `name`. "" alone if there is one without.
std::vector<std::string> Prefixes(const Listing& listing, std::string_view name) {
  std::vector<std::string> prefixes;
  for (const std::string& file : listing.files) {
    if (file == name) return {""};
    if (absl::EndsWith(file, Absl(name))) {
      prefixes.push_back(file.substr(0, file.size() - name.size()));
    }
  }
  return prefixes;
}

absl::Status Several(const fs::path& directory, const std::vector<std::string>& names) {
  return ArchiveError(absl::StrCat("several models in '", directory.string(),
                                   "': ", Absl(Quoted(absl::StrJoin(names, ", ")))),
                      "Give each model a directory of its own");
}

absl::StatusOr<std::string> OnlyPrefix(const fs::path& directory,
                                       const std::vector<std::string>& prefixes,
                                       std::string_view name) {
  if (prefixes.size() == 1) return prefixes[0];
  std::vector<std::string> names;
  for (const std::string& prefix : prefixes) names.push_back(absl::StrCat(prefix, Absl(name)));
  return Several(directory, names);
}

/// The model directly in `directory`; an empty `model` if there is none.
absl::StatusOr<ModelFiles> FindHere(const fs::path& directory) {
  PORTOLAN_ASSIGN_OR_RETURN(const Listing listing, List(directory));
  const std::vector<std::string> single = Prefixes(listing, kModel);
  const std::vector<std::string> older = Prefixes(listing, kParameters);
  if (single.empty() && older.empty()) return ModelFiles{};
  const bool three = single.empty();
  const std::string_view name = three ? kParameters : kModel;
  PORTOLAN_ASSIGN_OR_RETURN(const std::string prefix,
                            OnlyPrefix(directory, three ? older : single, name));
  const auto path = [&](std::string_view file) {
    return (directory / absl::StrCat(prefix, Absl(file))).string();
  };
  ModelFiles files;
  files.model = path(name);
  if (three) {
    files.attributes = path("attr.pkl");
    files.var_names = path("var_names.csv");
    for (const char* file : {"attr.pkl", "var_names.csv"}) {
      if (listing.files.count(absl::StrCat(prefix, file)) != 0) continue;
      return ArchiveError(absl::StrCat("'", prefix, "model_params.pt' without '", prefix, file,
                                       "' in '", directory.string(), "'"),
                          "Copy all three files of the saved model");
    }
  }
  for (const char* file : {"adata.h5ad", "mdata.h5mu"}) {
    if (listing.files.count(absl::StrCat(prefix, file)) != 0) files.data = path(file);
  }
  return files;
}

}  // namespace

absl::StatusOr<ModelFiles> FindModelFiles(const std::string& directory) {
  PORTOLAN_ASSIGN_OR_RETURN(ModelFiles files, FindHere(directory));
  if (!files.model.empty()) return files;
  PORTOLAN_ASSIGN_OR_RETURN(const Listing listing, List(directory));
  std::vector<std::string> holders;
  for (const std::string& folder : listing.folders) {
    PORTOLAN_ASSIGN_OR_RETURN(ModelFiles below, FindHere(fs::path(directory) / folder));
    if (below.model.empty()) continue;
    files = std::move(below);
    holders.push_back(folder);
  }
  if (holders.size() > 1) return Several(directory, holders);
  if (holders.size() == 1) return files;
  return FieldError(absl::StatusCode::kNotFound, "model.pt",
                    absl::StrCat("no such file in '", directory, "'"),
                    "Name a directory that holds a saved model");
}

}  // namespace portolan
