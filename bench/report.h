#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace portolan::bench {

/// One measured number.
struct Row {
  std::string name;
  int workers = 1;
  double value = 0;
  std::string unit;       ///< rates end in "/s"; everything else is better when it is smaller
  std::string peer = {};  ///< the peer's row, if of another name
  double floor = 0;       ///< the rate, or the time, that is possible at best; 0: not known
};

/// The table on stdout and the file of all benchmarks:
///   [{name, workers, value, unit, peer, ratio_to_peer, floor, ratio_to_floor}]
/// ratio_to_peer is how many times better than the peer the value is, ratio_to_floor the time taken
/// over the time of the floor. What is not known is null.
class Report {
 public:
  /// `out`: the file, whose other rows are kept; empty: none. `peer`: what peer.py wrote, or empty.
  Report(std::string out, const std::string& peer);

  /// Prints the row, and writes the file: a run that is stopped leaves what it has measured.
  void Add(const Row& row);

 private:
  void Put(nlohmann::json item);

  std::string out_;
  nlohmann::json peer_ = nlohmann::json::object();
  nlohmann::json items_ = nlohmann::json::array();
};

}  // namespace portolan::bench
