#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/query.h"
#include "client/cpp/mapping.h"
#include "core/base/cancellation.h"
#include "core/io/result_writer.h"

namespace portolan::client {

/// Names under which a result is kept in the h5ad.
inline constexpr char kLatentKey[] = "X_portolan";             // obsm: cells x latent, float32
inline constexpr char kLabelKey[] = "portolan_label";          // obs: categorical, code order
inline constexpr char kProbabilitiesKey[] = "portolan_probs";  // obsm: cells x labels, float32
inline constexpr char kReportKey[] = "portolan";               // uns: dict

struct OutputArguments {
  std::string query_path;
  std::string output_path;
  bool slim = false;  ///< without X, layers and raw
};

/// Refuses, before any work, an output that could not be written or would replace the query:
/// InvalidField("output").
absl::Status CheckOutput(const OutputArguments& output);

/// What else a result holds, added before it gets its name.
using MoreResults = std::function<absl::Status(ResultWriter& writer)>;

/// Writes query plus result; visible under its name only when it is whole. The result of a query
/// that is no h5ad file holds its cells and their batches, but not the counts.
absl::Status WriteResult(const OutputArguments& output, const Query& query,
                         const EmbeddingRows& rows, const std::vector<std::string>& labels,
                         const nlohmann::json& report, const CancelToken& cancel,
                         const MoreResults& more = {});

}  // namespace portolan::client
