#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/error_text.h"
#include "client/cli/report_json.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

constexpr size_t kShownId = 12;

absl::Status Versions(const std::string& atlas, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::ListVersionsResponse response, client->ListVersions(atlas));
  std::ostream& out = invocation.console.out;
  if (invocation.json) {
    nlohmann::json versions = nlohmann::json::array();
    for (const v1::Version& version : response.versions()) {
      versions.push_back(VersionJson(version));
    }
    out << JsonText({{"versions", versions}});
    return absl::OkStatus();
  }
  out << absl::StrFormat("%-12s %-12s %-10s %10s %8s  %s\n", "VERSION", "PARENT", "KIND", "BYTES",
                         "MAX|DZ|", "NEW BATCHES");
  for (const v1::Version& version : response.versions()) {
    const std::string parent = version.parent().empty() ? "-" : version.parent();
    out << absl::StrFormat(
        "%-12s %-12s %-10s %10d %8.2g  %s\n", Printable(version.id()).substr(0, kShownId),
        Printable(parent).substr(0, kShownId), Printable(version.extension_kind()),
        version.extension_bytes(), version.max_abs_probe_shift(),
        Printable(absl::StrJoin(version.new_batches(), ", ")));
  }
  return absl::OkStatus();
}

}  // namespace

void AddVersionsCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* versions =
      app.add_subcommand("versions", "The versions of an atlas, oldest first, with their parents");
  versions->fallthrough();
  auto atlas = std::make_shared<std::string>();
  versions->add_option("atlas", *atlas, "Name of the atlas")->required();
  versions->callback([atlas, &invocation] {
    invocation.run = [atlas](Invocation& run) { return Versions(*atlas, run); };
  });
}

}  // namespace portolan::client
