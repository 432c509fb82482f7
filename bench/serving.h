#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/child.h"
#include "bench/measure.h"
#include "bench/report.h"

namespace portolan::bench {

inline constexpr char kAtlas[] = "hlca";

/// What the measurements of the programs share.
struct Setting {
  const TemporaryFolder& folder;
  std::string atlases;  ///< of kHlcaShape, one atlas: kAtlas
  Report& report;
  bool long_runs = false;  ///< also those that take minutes
};

/// portolan-server on a free port, ready once it is constructed.
class RunningServer {
 public:
  RunningServer(const Setting& setting, const std::string& atlases,
                std::vector<std::string> options);

  /// Starts `portolan --server ADDRESS WORDS...`.
  std::unique_ptr<Child> Start(std::vector<std::string> words) const;

  const std::string& address() const { return address_; }
  Child& process() { return *process_; }

  /// The client's --json report; fails with the log of both unless it succeeded.
  nlohmann::json ReportOf(const Child::Ended& ended) const;

  /// Asks it to stop and waits; done by the destructor, too.
  void Stop();
  ~RunningServer() { Stop(); }
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;

 private:
  [[noreturn]] void FailWithLog() const;

  std::string log_;
  std::unique_ptr<Child> process_;
  std::string address_;
};

/// How long the server needs until it listens, with and without the reference.
void MeasureStart(const Setting& setting);
/// Uploads and downloads over loopback, by the client library.
void MeasureTransfer(const Setting& setting);
/// The server's memory over twenty surgeries at once.
void MeasureSurgeries(const Setting& setting);
/// A large query from file to file, with the memory of both ends.
void MeasureLargeQuery(const Setting& setting);

}  // namespace portolan::bench
