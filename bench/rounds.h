#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/report.h"

namespace portolan::bench {

/// The rate of float32 products of the decoder head's shape, (128 x 128) (128 x 2000), on `workers`
/// threads at once: flop a second.
double SgemmRate(int workers);

/// The rate at which `workers` threads do `amount` each.
double Rate(int workers, double amount, const std::function<void(int worker)>& work);

/// Work whose rate is measured.
struct Measurement {
  std::string name;
  int workers = 1;
  double amount = 0;  ///< of what `unit` counts, done by a worker in one call
  std::string unit;
  std::function<void(int worker)> work;
  double flops = 0;  ///< of float32 products in each of `amount`; 0: no floor is given
  std::string peer = {};
};

/// Rounds over all measurements, each preceded by the products of its floor, so that a disturbance
/// of the machine falls on both and on one round only. Reports medians over the rounds.
class Rounds {
 public:
  /// `only`: measurements whose name begins with it.
  explicit Rounds(std::string only) : only_(std::move(only)) {}

  /// Whether there is any point in preparing it.
  bool Wants(const std::string& name) const { return name.starts_with(only_); }
  /// REQUIRES: Wants(measurement.name).
  void Add(Measurement measurement) { measurements_.push_back(std::move(measurement)); }
  void Run(int rounds, Report& report) const;

 private:
  std::string only_;
  std::vector<Measurement> measurements_;
};

}  // namespace portolan::bench
