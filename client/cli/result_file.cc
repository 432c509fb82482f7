#include "client/cli/result_file.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/result_writer.h"

namespace portolan::client {

absl::Status CheckOutput(const OutputArguments& output) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path path(output.output_path);
  if (fs::is_directory(path, ignored)) {
    return InvalidField("output", absl::StrCat("'", output.output_path, "' is a directory"),
                        "Name a file, for example result.h5ad.");
  }
  if (fs::equivalent(path, output.query_path, ignored)) {
    return InvalidField("output",
                        absl::StrCat("'", output.output_path, "' is the query file itself"),
                        "Name another file; the query is never changed.");
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, ignored) || access(folder.c_str(), W_OK) != 0) {
    return InvalidField(
        "output",
        absl::StrCat("the folder '", folder.string(), "' does not exist or cannot be written to"),
        "Create it, or name a file in another folder.");
  }
  return absl::OkStatus();
}

namespace {

using WriterOr = absl::StatusOr<std::unique_ptr<ResultWriter>>;

WriterOr StartResult(const OutputArguments& output, const Query& query) {
  if (query.IsH5ad()) {
    return ResultWriter::Create(output.query_path, output.output_path,
                                {.without_counts = output.slim});
  }
  WriterOr writer = ResultWriter::CreateNew(query.cell_names(), output.output_path);
  if (!writer.ok()) return writer;
  const BatchAssignment& batches = query.batches();
  PORTOLAN_RETURN_IF_ERROR(
      (*writer)->WriteObsCategorical(query.batch_column(), batches.codes, batches.names));
  return writer;
}

}  // namespace

absl::Status WriteResult(const OutputArguments& output, const Query& query,
                         const EmbeddingRows& rows, const std::vector<std::string>& labels,
                         const nlohmann::json& report, const CancelToken& cancel,
                         const MoreResults& more) {
  if (rows.n_labels != static_cast<int64_t>(labels.size())) {
    return absl::DataLossError(absl::StrCat("the server named ", labels.size(),
                                            " labels and sent probabilities of ", rows.n_labels));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const auto writer, StartResult(output, query));
  PORTOLAN_RETURN_IF_ERROR(writer->WriteObsm(kLatentKey, rows.n_latent, rows.latent));
  if (rows.n_labels > 0) {
    PORTOLAN_RETURN_IF_ERROR(writer->WriteObsCategorical(kLabelKey, rows.label_codes, labels));
    PORTOLAN_RETURN_IF_ERROR(
        writer->WriteObsm(kProbabilitiesKey, rows.n_labels, rows.probabilities));
  }
  if (more) PORTOLAN_RETURN_IF_ERROR(more(*writer));
  PORTOLAN_RETURN_IF_ERROR(writer->WriteUns(kReportKey, report));
  PORTOLAN_RETURN_IF_ERROR(cancel.Check());
  return writer->Finish();
}

}  // namespace portolan::client
