#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace portolan::bench {

/// Memory of a running process, from the kernel's own books.
struct ProcessMemory {
  int64_t resident = 0;   ///< bytes, of them:
  int64_t anonymous = 0;  ///< not backed by a file: heaps and stacks, but no code
  int64_t peak = 0;       ///< the most that was resident since the start, or since ForgetPeak()
};

/// A program without a shell; its stdout is a pipe, its stderr goes to a file. The destructor kills
/// what still runs. Not thread-safe.
class Child {
 public:
  /// `words[0]` is the program's path.
  static std::unique_ptr<Child> Start(std::vector<std::string> words, const std::string& log);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  ProcessMemory Memory() const;
  /// What `peak` counts from now on.
  void ForgetPeak() const;

  /// The next line without its end; empty at the end of the stream.
  std::string ReadLine();

  void Signal(int number) const;

  struct Ended {
    int status = -1;   ///< exit status, or minus the signal that ended it
    std::string out;   ///< what was not read before
    int64_t peak = 0;  ///< bytes resident at most; not less than this process had at Start()
  };
  Ended Wait();

 private:
  Child() = default;
  bool ReadSome();

  pid_t pid_ = 0;
  int out_ = -1;
  std::string unread_;
};

}  // namespace portolan::bench
