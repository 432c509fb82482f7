#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/cli.h"
#include "client/cli/progress.h"
#include "client/cpp/client.h"

namespace CLI {
class App;
}

namespace portolan::client {

/// One run of the program: the global options, and what the chosen command does with them.
struct Invocation {
  Console console;
  std::string server = kDefaultServer;
  bool json = false;
  int signal = 0;  ///< the signal that stopped the command, or 0
  std::function<absl::Status(Invocation&)> run = {};
};

/// Each adds one command to `app`; parsing it sets `invocation.run`. One file per command.
void AddAtlasCommand(CLI::App& app, Invocation& invocation);
void AddVersionsCommand(CLI::App& app, Invocation& invocation);
void AddMapCommand(CLI::App& app, Invocation& invocation);
void AddEmbedCommand(CLI::App& app, Invocation& invocation);
void AddCompareCommand(CLI::App& app, Invocation& invocation);
/// A command below `atlas`.
void AddExportCommand(CLI::App& atlas, Invocation& invocation);

/// With --json a pipe gets nothing on stderr but an error, so that programs can parse it.
inline ProgressStyle StyleOf(const Invocation& invocation) {
  if (invocation.console.terminal) return ProgressStyle::kScreen;
  return invocation.json ? ProgressStyle::kSilent : ProgressStyle::kLines;
}

inline absl::StatusOr<std::unique_ptr<Client>> ConnectTo(const Invocation& invocation) {
  ClientOptions options;
  options.address = invocation.server;
  return Client::Connect(std::move(options));
}

}  // namespace portolan::client
