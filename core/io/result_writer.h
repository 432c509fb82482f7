#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

struct ResultWriterOptions {
  /// Leave out X, layers and raw (the result then holds obs, var, obsm, uns and what is added).
  bool without_counts = false;
};

/// Writes a query's content plus what a mapping added, as h5ad that anndata, scanpy and
/// scvi-tools read back. Written under a temporary name beside the target; only Finish() makes it
/// visible, so a half-written result is never found. Not thread-safe.
class ResultWriter {
 public:
  virtual ~ResultWriter() = default;

  /// Starts from a copy of the query file: obs, var, and the rest untouched.
  static absl::StatusOr<std::unique_ptr<ResultWriter>> Create(
      const std::string& query_path, const std::string& output_path,
      const ResultWriterOptions& options = {});

  /// Starts a file of its own, for a query that is no h5ad file: obs with these cells, no genes.
  static absl::StatusOr<std::unique_ptr<ResultWriter>> CreateNew(
      std::span<const std::string> cell_names, const std::string& output_path);

  /// obsm[name] = rows x width, float32, row-major. Replaces one of that name.
  virtual absl::Status WriteObsm(const std::string& name, int64_t width,
                                 std::span<const float> values) = 0;

  /// The same piece by piece: rows of obsm[name], in order. The first call creates the array;
  /// Finish() refuses one with rows missing.
  virtual absl::Status AppendObsm(const std::string& name, int64_t width,
                                  std::span<const float> rows) = 0;

  /// obs[name] = pandas categorical with these codes. Replaces one of that name.
  virtual absl::Status WriteObsCategorical(const std::string& name, std::span<const int32_t> codes,
                                           std::span<const std::string> categories) = 0;

  /// uns[name] = a nested dict: objects, strings, numbers, booleans, arrays of strings or numbers.
  virtual absl::Status WriteUns(const std::string& name, const nlohmann::json& value) = 0;

  /// Closes the file and gives it its name.
  virtual absl::Status Finish() = 0;
};

}  // namespace portolan
