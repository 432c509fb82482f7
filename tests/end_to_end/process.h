#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace portolan::end_to_end {

/// How a program ended and what it said that was not read before.
struct Ended {
  int status = -1;  ///< exit status, or minus the signal that ended it
  std::string out;
  std::string err;
};

/// A child process without a shell. Its stdout is a pipe; so is its stderr, unless a file is named.
/// A read that gets nothing for some minutes is a failure of the test and kills the child, so that
/// no test hangs. The destructor kills what still runs. Not thread-safe.
class Process {
 public:
  /// `words[0]` is the program's path.
  static std::unique_ptr<Process> Start(std::vector<std::string> words,
                                        const std::string& stderr_file = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// The next line without its end; nullopt at the end of the stream.
  std::optional<std::string> ReadOutLine() { return ReadLine(out_); }
  std::optional<std::string> ReadErrLine() { return ReadLine(err_); }

  void Signal(int number) const;

  /// Reads both streams to their end and collects the exit status.
  Ended Wait();

 private:
  struct Stream {
    int descriptor = -1;  // -1 once at its end
    std::string unread;
  };

  Process() = default;
  std::optional<std::string> ReadLine(Stream& stream);
  void ReadSome();
  static void Append(Stream& stream);

  pid_t pid_ = 0;
  Stream out_;
  Stream err_;
};

}  // namespace portolan::end_to_end
