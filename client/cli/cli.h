#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace portolan::client {

/// Where the command line writes.
struct Console {
  std::ostream& out;      ///< results
  std::ostream& err;      ///< errors and progress
  bool terminal = false;  ///< `err` is a terminal: progress is redrawn in place
};

/// The program `portolan`. `arguments` without the program's name. Returns the exit status:
/// 0 done, and the result file, if one was asked for, is whole; 1 an error, printed on `err`;
/// 2 bad usage; 128 + N stopped by signal N (Ctrl-C: 130), without a result file.
int RunCli(const std::vector<std::string>& arguments, const Console& console);

}  // namespace portolan::client
