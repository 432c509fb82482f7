#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "server/results.h"
#include "server/uploads.h"

namespace portolan::server {

struct ServerOptions {
  std::string atlases;                    ///< directory of model directories
  std::string listen = "127.0.0.1:7443";  ///< "ADDR:PORT"; port 0 takes a free one
  std::string data;                       ///< where versions are kept; empty: in memory only
  int workers = 0;                        ///< compute threads; 0: as many as cores are allowed
  int concurrent_mappings = 2;            ///< mappings that share the workers at the same time
  int64_t max_queued_mappings = 1000;
  std::string ops;  ///< "ADDR:PORT" of the metrics; empty: none
  UploadLimits uploads;
  ResultLimits results;
  absl::Duration shutdown_grace = absl::Seconds(10);             ///< for open calls
  std::function<absl::Time()> now = [] { return absl::Now(); };  ///< for leases and idle uploads
};

/// The server, put together: atlases, stores, pools, services, listeners. The composition root;
/// what it owns is destroyed in an order in which nobody outlives what it uses.
class Server {
 public:
  /// Loads the atlases and listens. Errors: InvalidField or kNotFound for what the options name
  /// wrongly, kUnavailable when an address cannot be bound. Atlases that cannot be opened are
  /// logged, and the server goes on without them.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);

  ~Server();

  /// Real address and port.
  const std::string& address() const;
  int port() const;
  int ops_port() const;  ///< 0 without an operations port

  /// Drains: health turns NOT_SERVING, no new uploads and mappings, running mappings checkpoint and
  /// go back to the queue, open calls get `shutdown_grace`. Blocks. Idempotent; one caller.
  void Stop();

 private:
  class Impl;

  explicit Server(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace portolan::server
