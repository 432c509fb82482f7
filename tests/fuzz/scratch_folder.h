#pragma once

#include <string>
#include <string_view>

namespace portolan::fuzz {

/// A folder of the process, in memory where the system has such, removed at its end.
class ScratchFolder {
 public:
  static const ScratchFolder& OfProcess();

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  /// Writes a file, in place of one of that name. Returns its path.
  std::string Write(const std::string& name, std::string_view content) const;

 private:
  ScratchFolder();
  ~ScratchFolder();

  std::string path_;
};

}  // namespace portolan::fuzz
