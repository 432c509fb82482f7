#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/error_text.h"
#include "client/cli/interrupt.h"
#include "client/cli/report_json.h"
#include "client/cpp/export.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

namespace fs = std::filesystem;

struct ExportArguments {
  std::string atlas;
  std::string version = "reference";
  std::string directory;
};

/// The folder that `directory` is to be made in.
fs::path ParentOf(const fs::path& directory) {
  const fs::path path = directory.has_filename() ? directory : directory.parent_path();
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// Refuses, before any work, a directory that could not be made or has content.
absl::Status CheckDirectory(const std::string& directory) {
  std::error_code ignored;
  if (fs::exists(directory, ignored) &&
      !(fs::is_directory(directory, ignored) && fs::is_empty(directory, ignored))) {
    return InvalidField("output", absl::StrCat("'", directory, "' exists and is not empty"),
                        "Name a directory that does not exist; nothing is overwritten.");
  }
  const fs::path parent = ParentOf(directory);
  if (!fs::is_directory(parent, ignored) || access(parent.c_str(), W_OK) != 0) {
    return InvalidField(
        "output",
        absl::StrCat("the folder '", parent.string(), "' does not exist or cannot be written to"),
        "Create it, or name a directory in another folder.");
  }
  return absl::OkStatus();
}

absl::Status SystemError(const std::string& path) {
  return InvalidField("output",
                      absl::StrCat("'", path, "' cannot be written (", std::strerror(errno), ")"),
                      "Check the space and the permissions there.");
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return SystemError(path);
  size_t at = 0;
  while (at < content.size()) {
    const ssize_t wrote = write(file, content.data() + at, content.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) break;
    at += static_cast<size_t>(wrote);
  }
  const bool whole = at == content.size() && fsync(file) == 0;
  const absl::Status status = whole ? absl::OkStatus() : SystemError(path);
  if (close(file) != 0 && status.ok()) return SystemError(path);
  return status;
}

/// Makes `directory` with the model in it; it gets its name only when it is whole.
absl::Status WriteModel(const std::string& directory, const std::string& content) {
  std::string partial = (ParentOf(directory) / ".portolan-export-XXXXXX").string();
  if (mkdtemp(partial.data()) == nullptr) return SystemError(partial);
  absl::Cleanup remove = [&partial] {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
  };
  PORTOLAN_RETURN_IF_ERROR(WriteFile(partial + "/model.pt", content));
  std::error_code error;
  fs::permissions(partial, fs::perms(0755), error);
  fs::path target(directory);
  if (!target.has_filename()) target = target.parent_path();
  if (rename(partial.c_str(), target.c_str()) != 0) return SystemError(directory);
  std::move(remove).Cancel();
  return absl::OkStatus();
}

absl::Status Export(const ExportArguments& arguments, Invocation& invocation) {
  PORTOLAN_RETURN_IF_ERROR(CheckDirectory(arguments.directory));
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  const InterruptGuard guard([&] { client->Interrupt(); });
  const auto fetched = ExportVersion(*client, VersionName(arguments.atlas, arguments.version));
  invocation.signal = guard.signal();
  PORTOLAN_ASSIGN_OR_RETURN(const ExportedVersion exported, fetched);
  PORTOLAN_RETURN_IF_ERROR(WriteModel(arguments.directory, exported.file));
  const v1::ExportVersionResponse::Header& header = exported.header;
  std::ostream& out = invocation.console.out;
  if (invocation.json) {
    out << JsonText(
        {{"version_id", header.version_id()},
         {"scvi_version", header.scvi_version()},
         {"bytes", header.bytes()},
         {"sha256", header.sha256()},
         {"notes", std::vector<std::string>(header.notes().begin(), header.notes().end())},
         {"output", arguments.directory}});
    return absl::OkStatus();
  }
  out << "wrote " << Printable(arguments.directory) << "/model.pt: version "
      << Printable(header.version_id()) << ", for scvi-tools " << Printable(header.scvi_version())
      << "\n";
  for (const std::string& note : header.notes()) out << "note: " << Printable(note) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App& atlas, Invocation& invocation) {
  CLI::App* command = atlas.add_subcommand("export", "A version as a model that scvi-tools opens");
  command->fallthrough();
  auto arguments = std::make_shared<ExportArguments>();
  command->add_option("atlas", arguments->atlas, "Name of the atlas")->required();
  command
      ->add_option("--version", arguments->version,
                   "An id, the start of one, 'reference' or 'latest'")
      ->capture_default_str();
  command->add_option("-o,--output", arguments->directory, "Directory to make")->required();
  command->callback([arguments, &invocation] {
    invocation.run = [arguments](Invocation& run) { return Export(*arguments, run); };
  });
}

}  // namespace portolan::client
