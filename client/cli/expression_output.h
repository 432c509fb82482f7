#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "core/io/result_writer.h"
#include "portolan/v1/atlas.pb.h"
#include "portolan/v1/mapping.pb.h"

namespace CLI {
class App;
}

namespace portolan::client {

/// Names under which expression is kept in obsm, cells x chosen features, float32; uns says which
/// feature each column is.
inline constexpr char kGenesKey[] = "portolan_genes";
inline constexpr char kProteinsKey[] = "portolan_proteins";
inline constexpr char kForegroundKey[] = "portolan_foreground";

/// What beside the latents a result should hold, as the command line names it.
struct ExpressionArguments {
  std::vector<std::string> outputs;   ///< of "genes", "proteins", "foreground"
  std::vector<std::string> genes;     ///< none: all
  std::vector<std::string> proteins;  ///< none: all
  std::vector<std::string> transform_batches;
  int samples = 1;
  bool deterministic = false;
  std::string library_size = "1";  ///< a number, or "observed"
  bool scale_protein = false;
  bool include_protein_background = false;

  bool asked() const { return !outputs.empty(); }
};

void AddExpressionOptions(CLI::App& command, ExpressionArguments& arguments);

/// For the wire, without a mapping's name. Errors, before any work: InvalidField("outputs") for a
/// model without proteins, ("output_genes") or ("output_proteins") for names that it lacks,
/// ("transform_batch") for a batch that neither the version nor the query has, ("library_size").
absl::StatusOr<v1::ReadExpressionRequest> ExpressionRequest(
    const ExpressionArguments& arguments, const v1::Version& version,
    const std::vector<std::string>& query_batches);

/// Streams a mapping's expression into obsm.
absl::Status WriteExpression(Client& client, const v1::ReadExpressionRequest& request,
                             int64_t cells, ResultWriter& writer);

/// What each array in obsm holds, for uns: its columns' names and how it was made.
nlohmann::json ExpressionJson(const v1::ReadExpressionRequest& request);

}  // namespace portolan::client
