#include "client/cli/expression_output.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/expression.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

using Names = google::protobuf::RepeatedPtrField<std::string>;

bool Asked(const ExpressionArguments& arguments, const char* output) {
  return std::find(arguments.outputs.begin(), arguments.outputs.end(), output) !=
         arguments.outputs.end();
}

// The chosen names, or all; each must be known.
absl::Status Choose(const std::vector<std::string>& chosen, const Names& known, const char* field,
                    Names& out) {
  if (chosen.empty()) {
    out = known;
    return absl::OkStatus();
  }
  const std::unordered_set<std::string> set(known.begin(), known.end());
  for (const std::string& name : chosen) {
    if (!set.contains(name)) {
      return InvalidField(field, absl::StrCat("'", name, "' is not in the model"),
                          "See 'portolan atlas show ATLAS --json' for its features.");
    }
    out.Add()->assign(name);
  }
  return absl::OkStatus();
}

}  // namespace

void AddExpressionOptions(CLI::App& command, ExpressionArguments& arguments) {
  const std::string group = "Expression (TOTALVI)";
  command.add_option("--outputs", arguments.outputs, "Denoised values to add to the result")
      ->delimiter(',')
      ->check(CLI::IsMember({"genes", "proteins", "foreground"}))
      ->group(group);
  command.add_option("--output-genes", arguments.genes, "Genes of the output; all if absent")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--output-proteins", arguments.proteins, "Proteins of the output; all if absent")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--transform-batch", arguments.transform_batches,
                  "Batches to decode the cells as, averaged over; each cell's own if absent")
      ->delimiter(',')
      ->group(group);
  command.add_option("--samples", arguments.samples, "Draws that are averaged over")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--deterministic", arguments.deterministic, "No draws: latent means")
      ->group(group);
  command
      .add_option("--library-size", arguments.library_size,
                  "Genes: share of the counts times this; 'observed' for each cell's own")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--scale-protein", arguments.scale_protein, "A cell's proteins sum to one")
      ->group(group);
  command
      .add_flag("--include-protein-background", arguments.include_protein_background,
                "Proteins with their background")
      ->group(group);
}

absl::StatusOr<v1::ReadExpressionRequest> ExpressionRequest(
    const ExpressionArguments& arguments, const v1::Version& version,
    const std::vector<std::string>& query_batches) {
  v1::ReadExpressionRequest request;
  if (version.proteins().empty()) {
    return InvalidField("outputs",
                        absl::StrCat("'", arguments.outputs[0],
                                     "' of a model that is "
                                     "not TOTALVI"),
                        "Leave --outputs out, or choose a TOTALVI atlas.");
  }
  if (Asked(arguments, "genes")) {
    PORTOLAN_RETURN_IF_ERROR(
        Choose(arguments.genes, version.genes(), "output_genes", *request.mutable_genes()));
  }
  request.set_foreground(Asked(arguments, "foreground"));
  if (request.foreground() || Asked(arguments, "proteins")) {
    PORTOLAN_RETURN_IF_ERROR(Choose(arguments.proteins, version.proteins(), "output_proteins",
                                    *request.mutable_proteins()));
  }
  std::unordered_set<std::string> batches(version.batches().begin(), version.batches().end());
  batches.insert(query_batches.begin(), query_batches.end());
  for (const std::string& batch : arguments.transform_batches) {
    if (!batches.contains(batch)) {
      return InvalidField("transform_batch", absl::StrCat("unknown batch '", batch, "'"),
                          absl::StrCat("Name a batch of the version, such as '",
                                       version.batches_size() > 0 ? version.batches(0) : "",
                                       "', or of the query."));
    }
    request.add_transform_batches(batch);
  }
  request.set_samples(arguments.samples);
  request.set_deterministic(arguments.deterministic);
  double library_size = 0;
  if (arguments.library_size == "observed") {
    request.set_observed_library_size(true);
  } else if (absl::SimpleAtod(arguments.library_size, &library_size) && library_size > 0) {
    request.set_library_size(library_size);
  } else {
    return InvalidField("library_size", absl::StrCat("'", arguments.library_size, "'"),
                        "Give a positive number, or 'observed'.");
  }
  request.set_scale_protein(arguments.scale_protein);
  request.set_include_protein_background(arguments.include_protein_background);
  return request;
}

absl::Status WriteExpression(Client& client, const v1::ReadExpressionRequest& request,
                             int64_t cells, ResultWriter& writer) {
  const auto append = [&](const char* key, int64_t width, std::span<const float> rows) {
    return width == 0 ? absl::OkStatus() : writer.AppendObsm(key, width, rows);
  };
  return ReadExpression(client, request, cells, [&](const ExpressionRows& rows) -> absl::Status {
    const int64_t proteins = request.proteins_size();
    PORTOLAN_RETURN_IF_ERROR(append(kGenesKey, request.genes_size(), rows.genes));
    PORTOLAN_RETURN_IF_ERROR(append(kProteinsKey, proteins, rows.proteins));
    return append(kForegroundKey, request.foreground() ? proteins : 0, rows.foreground);
  });
}

nlohmann::json ExpressionJson(const v1::ReadExpressionRequest& request) {
  const auto list = [](const Names& names) {
    return std::vector<std::string>(names.begin(), names.end());
  };
  nlohmann::json out = {{"transform_batch", list(request.transform_batches())},
                        {"samples", request.samples()},
                        {"deterministic", request.deterministic()},
                        {"scale_protein", request.scale_protein()},
                        {"include_protein_background", request.include_protein_background()}};
  if (request.observed_library_size()) {
    out["library_size"] = "observed";
  } else {
    out["library_size"] = request.library_size();
  }
  if (request.genes_size() > 0) out[kGenesKey] = list(request.genes());
  if (request.proteins_size() > 0) out[kProteinsKey] = list(request.proteins());
  if (request.foreground()) out[kForegroundKey] = list(request.proteins());
  return out;
}

}  // namespace portolan::client
