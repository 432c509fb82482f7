#include "server/ops_listener.h"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/field_error.h"

namespace portolan::server {
namespace {

constexpr size_t kMaxRequest = 8192;
constexpr absl::Duration kTimeLimit = absl::Seconds(5);

/// Waits until `socket` is ready for `events`; false when `deadline` comes first or it has failed.
bool AwaitReady(int socket, int16_t events, absl::Time deadline) {
  const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
  pollfd entry = {socket, events, 0};
  return left > 0 && poll(&entry, 1, static_cast<int>(left)) == 1;
}

/// The request's head as far as it came in time; it has no body.
std::string ReadHead(int connection, absl::Time deadline) {
  std::string head;
  while (head.size() < kMaxRequest && head.find("\r\n\r\n") == std::string::npos &&
         AwaitReady(connection, POLLIN, deadline)) {
    char buffer[1024];
    const ssize_t count = recv(connection, buffer, sizeof(buffer), 0);
    if (count <= 0) break;
    head.append(buffer, count);
  }
  return head;
}

void WriteAll(int connection, std::string_view bytes, absl::Time deadline) {
  while (!bytes.empty() && AwaitReady(connection, POLLOUT, deadline)) {
    const ssize_t count = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count <= 0) return;
    bytes.remove_prefix(count);
  }
}

absl::Status BindError(const ListenAddress& address, const char* reason) {
  return FieldError(absl::StatusCode::kUnavailable, "ops",
                    absl::StrCat("cannot listen on ", address.ToString(), ": ", reason),
                    "Give ADDR:PORT of this machine with a free port.");
}

absl::StatusOr<int> Bind(const ListenAddress& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found)) {
    return BindError(address, gai_strerror(error));
  }
  const int listener =
      socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  const int reuse = 1;  // a restart must not wait for old connections
  const bool bound =
      listener >= 0 && setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) == 0 &&
      bind(listener, found->ai_addr, found->ai_addrlen) == 0 && listen(listener, 16) == 0;
  const int error = errno;
  freeaddrinfo(found);
  if (bound) return listener;
  if (listener >= 0) close(listener);
  return BindError(address, std::strerror(error));
}

int BoundPort(int listener) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  char port[NI_MAXSERV] = "0";
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
    getnameinfo(reinterpret_cast<sockaddr*>(&storage), length, nullptr, 0, port, sizeof(port),
                NI_NUMERICSERV);
  }
  return std::atoi(port);
}

std::string Response(absl::string_view status, absl::string_view body) {
  return absl::StrCat("HTTP/1.0 ", status,
                      "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8",
                      "\r\nContent-Length: ", body.size(), "\r\nConnection: close\r\n\r\n", body);
}

}  // namespace

absl::StatusOr<std::unique_ptr<OpsListener>> OpsListener::Start(const ListenAddress& address,
                                                                const Metrics& metrics) {
  const absl::StatusOr<int> listener = Bind(address);
  if (!listener.ok()) return listener.status();
  const int wake = eventfd(0, EFD_CLOEXEC);
  if (wake < 0) {
    close(*listener);
    return BindError(address, std::strerror(errno));
  }
  return std::unique_ptr<OpsListener>(
      new OpsListener(*listener, wake, BoundPort(*listener), metrics));
}

OpsListener::OpsListener(int listener, int wake, int port, const Metrics& metrics)
    : listener_(listener), wake_(wake), port_(port), metrics_(metrics), thread_([this] {
        Run();
      }) {}

OpsListener::~OpsListener() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  thread_.join();
  close(listener_);
  close(wake_);
}

void OpsListener::Run() {
  while (true) {
    pollfd entries[] = {{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (poll(entries, 2, -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    if (entries[0].revents == 0) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    Answer(connection);
    close(connection);
  }
}

void OpsListener::Answer(int connection) const {
  const absl::Time deadline = absl::Now() + kTimeLimit;
  const std::string head = ReadHead(connection, deadline);
  WriteAll(connection, OpsResponse(head, metrics_), deadline);
}

std::string OpsResponse(std::string_view request, const Metrics& metrics) {
  if (request.substr(0, 4) != "GET ") return Response("405 Method Not Allowed", "GET only\n");
  const std::string_view path = request.substr(4, request.find_first_of(" ?\r\n", 4) - 4);
  if (path != "/metrics") return Response("404 Not Found", "here is only /metrics\n");
  return Response("200 OK", metrics.ToText());
}

}  // namespace portolan::server
