#pragma once

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan::bench {

/// Ends the program: a number that could not be measured is no number. Throws, so that processes
/// and folders go with it.
[[noreturn]] void Fail(const std::string& why);

/// The body of main(): says on stderr why it failed. The exit status.
int Guarded(const std::function<void()>& body);

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) Fail(std::string(value.status().message()));
  return *std::move(value);
}
void Must(const absl::Status& status);

double Seconds(const std::function<void()>& work);

/// REQUIRES: at least one value.
double Median(std::vector<double> values);

/// A folder of its own, removed with its content.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace portolan::bench
