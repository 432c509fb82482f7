#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// An array of a golden file, row-major, as double.
struct GoldenArray {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

/// What scvi-tools got for a model, some counts and a surgery run without randomness; made by
/// tests/golden/make_golden.py.
struct GoldenFile {
  std::vector<std::string> genes;
  std::vector<std::string> cells;             ///< obs names
  std::map<std::string, GoldenArray> arrays;  ///< everything numeric, by name

  const GoldenArray* Find(const std::string& name) const;
  /// A scalar, or `otherwise`.
  double Scalar(const std::string& name, double otherwise) const;
};

absl::StatusOr<GoldenFile> ReadGolden(const std::string& path);

}  // namespace portolan
