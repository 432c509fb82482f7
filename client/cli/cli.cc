#include "client/cli/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>

#include "client/cli/command.h"
#include "client/cli/error_text.h"

namespace portolan::client {
namespace {

constexpr int kUsageError = 2;

// Returns the exit status if parsing already settles it.
std::optional<int> Parse(CLI::App& app, std::vector<std::string> arguments,
                         const Console& console) {
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 pops from the back
    app.parse(arguments);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app.exit(error, console.out, console.err) == 0 ? 0 : kUsageError;
  }
}

int Execute(Invocation& invocation) {
  const absl::Status status = invocation.run(invocation);
  const Console& console = invocation.console;
  if (status.ok()) {
    console.out.flush();
    return console.out.good() ? 0 : 1;
  }
  if (invocation.signal != 0 && absl::IsCancelled(status)) {
    const absl::Status interrupted = absl::CancelledError("interrupted; no result file is written");
    console.err << (invocation.json ? ErrorJson(interrupted) : ErrorText(interrupted));
    return 128 + invocation.signal;
  }
  console.err << (invocation.json ? ErrorJson(status) : ErrorText(status));
  return 1;
}

}  // namespace

int RunCli(const std::vector<std::string>& arguments, const Console& console) {
  Invocation invocation{.console = console};
  CLI::App app("Maps single-cell queries onto frozen reference models of a Portolan server.",
               "portolan");
  app.set_version_flag("--version", std::string("portolan " PORTOLAN_CLIENT_VERSION));
  app.add_option("--server", invocation.server, "Address of the server, HOST:PORT")
      ->envname("PORTOLAN_SERVER")
      ->capture_default_str();
  app.add_flag("--json", invocation.json,
               "Print the result as JSON on stdout, an error as JSON on stderr");
  app.require_subcommand(1);
  app.fallthrough();
  AddAtlasCommand(app, invocation);
  AddVersionsCommand(app, invocation);
  AddMapCommand(app, invocation);
  AddEmbedCommand(app, invocation);
  AddCompareCommand(app, invocation);
  if (const auto exit_status = Parse(app, arguments, console)) return *exit_status;
  return Execute(invocation);
}

}  // namespace portolan::client
