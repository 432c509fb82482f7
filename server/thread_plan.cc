#include "server/thread_plan.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace portolan::server {
namespace {

constexpr const char* kVariables[] = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"};

bool IsOne(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && std::string_view(value) == "1";
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

/// The tightest quota between the process's own cgroup and the root of what it sees.
std::optional<double> CgroupQuota() {
  std::optional<double> tightest;
  std::string path;
  if (const auto own = ReadFile("/proc/self/cgroup")) path = ParseCgroupPath(*own).value_or("");
  while (true) {
    if (const auto text = ReadFile(absl::StrCat("/sys/fs/cgroup", path, "/cpu.max"))) {
      const std::optional<double> quota = ParseCpuMax(*text);
      if (quota && (!tightest || *quota < *tightest)) tightest = quota;
    }
    if (path.empty()) return tightest;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

absl::Status EnsureOneBlasThread(char** argv) {
  if (std::all_of(std::begin(kVariables), std::end(kVariables), IsOne)) return absl::OkStatus();
  for (const char* variable : kVariables) setenv(variable, "1", /*overwrite=*/1);
  execv("/proc/self/exe", argv);
  return absl::ErrnoToStatus(errno, "cannot restart with one BLAS thread per worker");
}

std::optional<double> ParseCpuMax(std::string_view text) {
  const std::vector<std::string> words = absl::StrSplit(absl::string_view(text.data(), text.size()),
                                                        absl::ByAnyChar(" \n"), absl::SkipEmpty());
  double quota = 0;
  double period = 0;
  if (words.size() != 2 || !absl::SimpleAtod(words[0], &quota) ||
      !absl::SimpleAtod(words[1], &period) || !(quota > 0) || !(period > 0) ||
      !std::isfinite(quota / period)) {
    return std::nullopt;
  }
  return quota / period;
}

std::optional<std::string> ParseCgroupPath(std::string_view text) {
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    if (absl::ConsumePrefix(&line, "0::/")) {
      return line.empty() ? std::string() : absl::StrCat("/", line);
    }
  }
  return std::nullopt;
}

int WorkersFor(int cores, std::optional<double> quota) {
  int workers = std::max(1, cores);
  if (quota) workers = static_cast<int>(std::min<double>(workers, std::ceil(*quota)));
  return std::max(1, workers);
}

int DefaultWorkers() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                        ? CPU_COUNT(&allowed)
                        : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return WorkersFor(cores, CgroupQuota());
}

}  // namespace portolan::server
