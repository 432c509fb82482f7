#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/end_to_end/process.h"

namespace portolan::end_to_end {

/// The committed demo.
std::string DemoAtlases();
std::string DemoQuery();
inline constexpr char kDemoAtlas[] = "pbmc_demo";
/// The demo's TOTALVI reference.
inline constexpr char kProteinAtlas[] = "cite_demo";

/// A file of the test data, which is not part of the repository. Empty if there is none.
std::string TestData(const std::string& relative_path);

/// A fresh directory, removed with its content.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  /// The path of an entry, which need not exist.
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  /// Names of the entries, sorted.
  std::vector<std::string> Entries() const;

 private:
  std::string path_;
};

struct ServerArguments {
  std::string atlases = DemoAtlases();
  int workers = 2;
  std::string data = {};  ///< empty: versions are kept in memory
};

/// portolan-server on a free port, listening once it is constructed.
class RunningServer {
 public:
  explicit RunningServer(const ServerArguments& arguments = {});

  const std::string& address() const { return address_; }

  /// Runs `portolan --server ADDRESS WORDS...` to its end.
  Ended Run(const std::vector<std::string>& words) const;
  /// Starts it and returns at once.
  std::unique_ptr<Process> Start(const std::vector<std::string>& words) const;
  /// Runs it with --json; it must succeed.
  nlohmann::json RunJson(const std::vector<std::string>& words) const;

  /// Maps or embeds with --json into `output`; fails the test unless that succeeds. The report.
  nlohmann::json Map(const std::string& query, const std::string& output,
                     const std::vector<std::string>& more = {}) const;
  nlohmann::json Embed(const std::string& query, const std::string& output,
                       const std::vector<std::string>& more = {}) const;

  /// Asks it to stop and returns its exit status.
  int Stop();

  std::string Log() const;

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<Process> process_;
  std::string address_;
};

/// Runs `portolan WORDS...` to its end.
Ended RunPortolan(const std::vector<std::string>& words);

/// Expects what every refusal looks like on stderr: exit status 1, nothing on stdout, the field,
/// what was found, a remedy.
void ExpectRefused(const Ended& ended, const std::string& field);

}  // namespace portolan::end_to_end
