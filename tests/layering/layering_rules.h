#pragma once

/// The rules that hold the tree up, checked on sources as text: which folder may include what, that
/// headers are guarded, and that files stay short enough to read.
///
/// The arrows: client -> proto <- server -> core, client -> core/{io, matrix, base}; inside core
/// each folder includes only those listed for it in layering_rules.cc. LibTorch's headers stay in
/// core/model and core/surgery, and in the tests and benchmarks of these two.

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace portolan::layering {

inline constexpr int kMaxHeaderLines = 250;
inline constexpr int kMaxSourceLines = 600;

/// One broken rule. `line` is 1-based; 0 where the whole file is meant.
struct Violation {
  std::string path;
  int line = 0;
  std::string message;
};

/// "path:line: message", as compilers write it.
std::string ToString(const Violation& violation);

/// All rules broken by one file. `path` is relative to the repository's root with '/' between
/// folders ("core/base/philox.h"); `text` is the file's content. A pure function.
std::vector<Violation> CheckSource(std::string_view path, std::string_view text);

/// CheckSource on every file of a tree (path to text), and what only the whole tree shows: sources
/// that get LibTorch's headers through a header of the project. A pure function.
std::vector<Violation> CheckTree(const std::map<std::string, std::string>& sources);

}  // namespace portolan::layering
