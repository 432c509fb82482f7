#include "bench/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include "bench/measure.h"

namespace portolan::bench {

std::unique_ptr<Child> Child::Start(std::vector<std::string> words, const std::string& log) {
  std::unique_ptr<Child> child(new Child);
  std::array<int, 2> out = {-1, -1};
  if (pipe2(out.data(), O_CLOEXEC) != 0) Fail("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  if (posix_spawn(&child->pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) {
    Fail("cannot start " + words[0]);
  }
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  child->out_ = out[0];
  return child;
}

Child::~Child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_ >= 0) close(out_);
}

ProcessMemory Child::Memory() const {
  ProcessMemory memory;
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  std::string word;
  while (status >> word) {
    int64_t* to = word == "VmRSS:"     ? &memory.resident
                  : word == "RssAnon:" ? &memory.anonymous
                  : word == "VmHWM:"   ? &memory.peak
                                       : nullptr;
    if (to == nullptr) continue;
    status >> *to;
    *to *= 1024;
  }
  return memory;
}

void Child::ForgetPeak() const {
  std::ofstream("/proc/" + std::to_string(pid_) + "/clear_refs") << "5";
}

bool Child::ReadSome() {
  std::array<char, 4096> buffer;
  ssize_t count = 0;
  do {
    count = read(out_, buffer.data(), buffer.size());
  } while (count < 0 && errno == EINTR);
  if (count > 0) unread_.append(buffer.data(), static_cast<size_t>(count));
  return count > 0;
}

std::string Child::ReadLine() {
  size_t end = unread_.find('\n');
  while (end == std::string::npos && ReadSome()) end = unread_.find('\n');
  if (end == std::string::npos) return std::exchange(unread_, {});
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  return line;
}

void Child::Signal(int number) const { kill(pid_, number); }

Child::Ended Child::Wait() {
  while (ReadSome()) {
  }
  Ended ended;
  int status = 0;
  rusage usage = {};
  if (wait4(std::exchange(pid_, 0), &status, 0, &usage) > 0) {
    ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  ended.out = std::exchange(unread_, {});
  ended.peak = usage.ru_maxrss * 1024;
  return ended;
}

}  // namespace portolan::bench
