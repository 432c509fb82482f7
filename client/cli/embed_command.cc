#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/map_options.h"
#include "client/cli/progress.h"
#include "client/cli/query.h"
#include "client/cli/report_json.h"
#include "client/cli/result_file.h"
#include "client/cli/summary.h"
#include "client/cpp/embed.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

struct EmbedArguments {
  QueryArguments query;
  OutputArguments output;
  std::string atlas;
  std::string version = "reference";
};

absl::StatusOr<EmbedResult> EmbedQuery(Client& client, Query& query, const v1::Version& version,
                                       ProgressPrinter& progress) {
  v1::EmbedRequest::Header header;
  header.set_version(version.name());
  const BatchAssignment& batches = query.batches();
  header.mutable_batches()->Add(batches.names.begin(), batches.names.end());
  std::optional<EmbedStream> stream;
  absl::Status sent;
  int64_t cells_sent = 0;
  const absl::Status read =
      query.ReadCells(client.interrupted(), [&](const CellBlock& cells) -> absl::Status {
        if (!stream) stream.emplace(client, header);
        sent = stream->Add(cells);
        PORTOLAN_RETURN_IF_ERROR(sent);
        cells_sent += cells.counts.rows();
        progress.Cells("embedded", cells_sent, query.cells());
        return absl::OkStatus();
      });
  if (!read.ok() && sent.ok()) return read;
  if (!stream) return absl::InternalError("the query was read without a single cell");
  // A broken stream knows best why it broke.
  absl::StatusOr<EmbedResult> result = stream->Finish();
  if (result.ok() && !sent.ok()) return sent;
  return result;
}

absl::Status EmbedWith(Client& client, const EmbedArguments& arguments, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Atlas atlas, client.GetAtlas(arguments.atlas));
  const ResultContext context{ShortName(arguments.atlas), atlas.model()};
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Version version,
                            client.GetVersion(arguments.atlas, arguments.version));
  PORTOLAN_ASSIGN_OR_RETURN(Query query, Query::Open(arguments.query, version));
  // To a model without a batch key all cells are of one batch, whatever its name.
  if (!atlas.model().batch_key().empty()) {
    PORTOLAN_RETURN_IF_ERROR(RefuseUnknownBatches(query.batches(), version));
  }
  PORTOLAN_RETURN_IF_ERROR(query.Annotate(atlas.model(), AnnotationUse::kEmbed));
  ProgressPrinter progress(invocation.console.err, StyleOf(invocation));
  PORTOLAN_ASSIGN_OR_RETURN(const EmbedResult result, EmbedQuery(client, query, version, progress));
  const EmbedReport report{.version_id = result.header.version_id(),
                           .labels = {result.header.labels().begin(), result.header.labels().end()},
                           .instruction_set = result.header.instruction_set(),
                           .genes = query.WireGenes(),
                           .batches = query.batches().names,
                           .cells = query.batches().cells};
  PORTOLAN_RETURN_IF_ERROR(WriteResult(arguments.output, query, result.rows, report.labels,
                                       ReportJson(report, context, BatchKeys::kHdf5),
                                       client.interrupted()));
  std::ostream& out = invocation.console.out;
  if (invocation.json) {
    nlohmann::json printed = ReportJson(report, context, BatchKeys::kNames);
    printed["label_counts"] = LabelCountsJson(report.labels, result.rows.label_codes);
    printed["output"] = arguments.output.output_path;
    out << JsonText(printed);
  } else {
    out << EmbedSummary(report, context, result.rows.label_codes, arguments.output.output_path);
  }
  return absl::OkStatus();
}

absl::Status Embed(const EmbedArguments& arguments, Invocation& invocation) {
  PORTOLAN_RETURN_IF_ERROR(CheckOutput(arguments.output));
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  const InterruptGuard guard([&] { client->Interrupt(); });
  const absl::Status status = EmbedWith(*client, arguments, invocation);
  invocation.signal = guard.signal();
  return status;
}

}  // namespace

void AddEmbedCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* embed = app.add_subcommand(
      "embed", "Embed cells of batches that a version already knows, without training");
  embed->fallthrough();
  auto arguments = std::make_shared<EmbedArguments>();
  AddQueryOptions(*embed, arguments->query, arguments->output, arguments->atlas,
                  arguments->version);
  embed->callback([arguments, &invocation] {
    arguments->output.query_path = arguments->query.path;
    invocation.run = [arguments](Invocation& run) { return Embed(*arguments, run); };
  });
}

}  // namespace portolan::client
