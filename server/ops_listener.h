#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "server/listen_address.h"
#include "server/metrics.h"

namespace portolan::server {

/// The operations port: GET /metrics in Prometheus' text format, over plain HTTP/1.0. One thread,
/// one connection at a time, each with a time limit: a scraper is all that is expected here.
///
/// (prometheus-cpp's own listener starts threads with a stack of 100 KiB, in which LibTorch's
/// thread-local data do not fit.)
class OpsListener {
 public:
  /// kUnavailable if the address cannot be bound. `metrics` outlives the listener.
  static absl::StatusOr<std::unique_ptr<OpsListener>> Start(const ListenAddress& address,
                                                            const Metrics& metrics);
  ~OpsListener();

  OpsListener(const OpsListener&) = delete;
  OpsListener& operator=(const OpsListener&) = delete;

  int port() const { return port_; }

 private:
  OpsListener(int listener, int wake, int port, const Metrics& metrics);

  void Run();
  void Answer(int connection) const;

  const int listener_;  ///< socket
  const int wake_;      ///< eventfd: readable when it is time to stop
  const int port_;
  const Metrics& metrics_;
  std::thread thread_;
};

/// The whole answer to a request whose head begins with `request`.
std::string OpsResponse(std::string_view request, const Metrics& metrics);

}  // namespace portolan::server
