#include "client/cli/interrupt.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace portolan::client {
namespace {

// What a signal handler may touch: the write end of the guard's pipe.
volatile std::sig_atomic_t write_end = -1;
struct sigaction former_int;
struct sigaction former_term;

void OnSignal(int signal) {
  const int kept_errno = errno;
  const char byte = static_cast<char>(signal);
  [[maybe_unused]] const ssize_t written = write(write_end, &byte, 1);
  errno = kept_errno;
}

void RestoreHandlers() {
  sigaction(SIGINT, &former_int, nullptr);
  sigaction(SIGTERM, &former_term, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard(std::function<void()> on_signal) : on_signal_(std::move(on_signal)) {
  if (pipe(pipe_) != 0) return;  // then the signals keep ending the program
  write_end = pipe_[1];
  listener_ = std::thread([this] { Listen(); });
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &former_int);
  sigaction(SIGTERM, &action, &former_term);
}

InterruptGuard::~InterruptGuard() {
  if (!listener_.joinable()) return;
  RestoreHandlers();
  const char stop = 0;
  [[maybe_unused]] const ssize_t written = write(pipe_[1], &stop, 1);
  listener_.join();
  write_end = -1;
  close(pipe_[0]);
  close(pipe_[1]);
}

void InterruptGuard::Listen() {
  char byte = 0;
  while (read(pipe_[0], &byte, 1) == 1 && byte != 0) {
    if (signal_ != 0) continue;
    signal_ = byte;
    RestoreHandlers();
    on_signal_();
  }
}

}  // namespace portolan::client
