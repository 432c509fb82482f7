#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/app.h"
#include "server/log.h"
#include "server/thread_plan.h"

namespace {

using portolan::server::Log;
using portolan::server::LogLevel;
using portolan::server::Server;
using portolan::server::ServerOptions;

constexpr int kExitFailed = 1;  // could not start
constexpr int kExitUsage = 2;   // bad command line, or it names what does not exist

/// Blocks the stop signals in this thread and all that it starts; sigwait() takes them.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int Serve(const ServerOptions& options) {
  const sigset_t signals = BlockStopSignals();
  portolan::server::AdoptGrpcLog();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
  if (!server.ok()) {
    const std::string message(server.status().message());
    std::fprintf(stderr, "portolan-server: %s\n", message.c_str());
    const bool usage =
        absl::IsInvalidArgument(server.status()) || absl::IsNotFound(server.status());
    return usage ? kExitUsage : kExitFailed;
  }
  std::printf("portolan-server listening on %s\n", (*server)->address().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  Log(LogLevel::kInfo, "stopping", {{"signal", absl::StrCat(signal)}});
  (*server)->Stop();
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (const absl::Status plan = portolan::server::EnsureOneBlasThread(argv); !plan.ok()) {
    Log(LogLevel::kWarning, "thread plan", {{"error", portolan::server::LogText(plan)}});
  }
  CLI::App app("Maps single-cell queries onto frozen scVI and scANVI references.",
               "portolan-server");
  app.footer("Exit status: 0 stopped by SIGTERM or SIGINT, 1 could not start, 2 bad command line.");
  app.require_subcommand(1);
  ServerOptions options;
  CLI::App* serve = app.add_subcommand("serve", "Answer gRPC calls until SIGTERM.");
  serve->add_option("--atlases", options.atlases, "Directory with one model directory per atlas")
      ->required();
  serve->add_option("--listen", options.listen, "ADDR:PORT; port 0 takes a free one")
      ->capture_default_str();
  serve->add_option("--data", options.data,
                    "Directory where new versions are kept (without it, in memory only)");
  serve->add_option("--workers", options.workers, "Compute threads (default: the cores allowed)")
      ->check(CLI::Range(1, 4096));
  serve
      ->add_option("--mappings", options.concurrent_mappings,
                   "Mappings that share the workers at the same time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  serve->add_option("--ops", options.ops, "ADDR:PORT that serves metrics (default: none)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return Serve(options);
}
