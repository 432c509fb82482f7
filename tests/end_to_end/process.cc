#include "tests/end_to_end/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace portolan::end_to_end {
namespace {

// No test waits so long unless something hangs.
constexpr int kHangMilliseconds = 300'000;

void Close(int& descriptor) {
  if (descriptor >= 0) close(descriptor);
  descriptor = -1;
}

}  // namespace

std::unique_ptr<Process> Process::Start(std::vector<std::string> words,
                                        const std::string& stderr_file) {
  std::unique_ptr<Process> process(new Process);
  std::array<int, 2> out = {-1, -1};
  std::array<int, 2> err = {-1, -1};
  EXPECT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  if (stderr_file.empty()) {
    EXPECT_EQ(pipe2(err.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, stderr_file.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = posix_spawn(&process->pid_, argv[0], &actions, nullptr, argv.data(), environ);
  EXPECT_EQ(error, 0) << "cannot start " << words[0];
  if (error != 0) process->pid_ = 0;
  posix_spawn_file_actions_destroy(&actions);
  Close(out[1]);
  Close(err[1]);
  process->out_.descriptor = out[0];
  process->err_.descriptor = err[0];
  return process;
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Close(out_.descriptor);
  Close(err_.descriptor);
}

void Process::Signal(int number) const {
  ASSERT_GT(pid_, 0);
  EXPECT_EQ(kill(pid_, number), 0);
}

void Process::Append(Stream& stream) {
  std::array<char, 4096> buffer;
  const ssize_t count = read(stream.descriptor, buffer.data(), buffer.size());
  if (count > 0) {
    stream.unread.append(buffer.data(), static_cast<size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    Close(stream.descriptor);
  }
}

// Both streams are read whichever is asked for, so that a full pipe never stops the child.
void Process::ReadSome() {
  std::array<pollfd, 2> ready = {
      {{.fd = out_.descriptor, .events = POLLIN, .revents = 0},
       {.fd = err_.descriptor, .events = POLLIN, .revents = 0}}};  // poll() skips what is negative
  const int count = poll(ready.data(), ready.size(), kHangMilliseconds);
  if (count == 0) {
    ADD_FAILURE() << "the program hangs; so far it said: " << out_.unread << err_.unread;
    kill(pid_, SIGKILL);
    Close(out_.descriptor);
    Close(err_.descriptor);
    return;
  }
  if (ready[0].revents != 0) Append(out_);
  if (ready[1].revents != 0) Append(err_);
}

std::optional<std::string> Process::ReadLine(Stream& stream) {
  size_t end = stream.unread.find('\n');
  while (end == std::string::npos && stream.descriptor >= 0) {
    ReadSome();
    end = stream.unread.find('\n');
  }
  if (end == std::string::npos) return std::nullopt;
  std::string line = stream.unread.substr(0, end);
  stream.unread.erase(0, end + 1);
  return line;
}

Ended Process::Wait() {
  while (out_.descriptor >= 0 || err_.descriptor >= 0) ReadSome();
  Ended ended;
  int status = 0;
  if (pid_ > 0 && waitpid(std::exchange(pid_, 0), &status, 0) > 0) {
    ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  ended.out = std::exchange(out_.unread, {});
  ended.err = std::exchange(err_.unread, {});
  return ended;
}

}  // namespace portolan::end_to_end
