#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/cleanup/cleanup.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/map_options.h"
#include "client/cli/progress.h"
#include "client/cli/query.h"
#include "client/cli/report_json.h"
#include "client/cli/result_file.h"
#include "client/cli/summary.h"
#include "client/cpp/mapping.h"
#include "client/cpp/upload.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The upload begins with the first block that was read, so a matrix that is refused at its start
// never reaches the server.
absl::StatusOr<std::string> UploadQuery(Client& client, Query& query, const v1::Version& version,
                                        ProgressPrinter& progress) {
  v1::CreateUploadRequest request;
  request.set_version(version.name());
  request.set_cells(query.cells());
  const BatchAssignment& batches = query.batches();
  request.mutable_batches()->Add(batches.names.begin(), batches.names.end());
  *request.mutable_genes() = query.WireGenes();
  if (const auto proteins = query.WireProteins()) *request.mutable_proteins() = *proteins;
  UploadOptions options;
  options.on_progress = [&](int64_t cells) { progress.Cells("uploaded", cells, query.cells()); };

  std::unique_ptr<Uploader> uploader;
  PORTOLAN_RETURN_IF_ERROR(
      query.ReadCells(client.interrupted(), [&](const CellBlock& cells) -> absl::Status {
        if (!uploader) {
          PORTOLAN_ASSIGN_OR_RETURN(uploader, Uploader::Start(client, request, options));
        }
        return uploader->Add(cells);
      }));
  if (!uploader) return absl::InternalError("the query was read without a single cell");
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Upload upload, uploader->Complete());
  return upload.name();
}

absl::StatusOr<v1::Mapping> Train(Client& client, const MapArguments& arguments,
                                  const v1::Version& version, const std::string& upload,
                                  ProgressPrinter& progress) {
  v1::CreateMappingRequest request;
  request.set_version(version.name());
  request.set_upload(upload);
  *request.mutable_options() = ToWire(arguments);
  auto mapping = RunMapping(client, std::move(request),
                            [&](const v1::Mapping& change) { progress.Mapping(change); });
  progress.Close();
  return mapping;
}

absl::Status MapWith(Client& client, const MapArguments& arguments, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Atlas atlas, client.GetAtlas(arguments.atlas));
  const ResultContext context{ShortName(arguments.atlas), atlas.model()};
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Version version,
                            client.GetVersion(arguments.atlas, arguments.version));
  PORTOLAN_ASSIGN_OR_RETURN(Query query, Query::Open(arguments.query, version));
  PORTOLAN_RETURN_IF_ERROR(RefuseSingleCellBatches(
      query.batches(), {version.batches().begin(), version.batches().end()}, query.cell_names()));

  v1::ReadExpressionRequest expression;
  if (arguments.expression.asked()) {
    PORTOLAN_ASSIGN_OR_RETURN(
        expression, ExpressionRequest(arguments.expression, version, query.batches().names));
  }

  PORTOLAN_RETURN_IF_ERROR(query.Annotate(atlas.model(), AnnotationUse::kMap));
  ProgressPrinter progress(invocation.console.err, StyleOf(invocation));
  auto start = std::chrono::steady_clock::now();
  PORTOLAN_ASSIGN_OR_RETURN(const std::string upload,
                            UploadQuery(client, query, version, progress));
  const double upload_seconds = SecondsSince(start);
  // Whatever comes of the mapping, nobody asks for the upload again; the server keeps it in memory.
  const absl::Cleanup delete_upload = [&] { client.DeleteUpload(upload).IgnoreError(); };
  PORTOLAN_ASSIGN_OR_RETURN(v1::Mapping mapping,
                            Train(client, arguments, version, upload, progress));
  start = std::chrono::steady_clock::now();
  PORTOLAN_ASSIGN_OR_RETURN(const EmbeddingRows rows,
                            ReadEmbedding(client, mapping.name(), query.cells()));
  v1::MappingReport& report = *mapping.mutable_report();
  (*report.mutable_seconds())["upload"] = upload_seconds;
  (*report.mutable_seconds())["download"] = SecondsSince(start);

  const std::vector<std::string> labels(report.labels().begin(), report.labels().end());
  nlohmann::json uns = ReportJson(report, context, BatchKeys::kHdf5);
  MoreResults more;
  if (arguments.expression.asked()) {
    expression.set_name(mapping.name());
    uns["expression"] = ExpressionJson(expression);
    more = [&](ResultWriter& writer) {
      return WriteExpression(client, expression, query.cells(), writer);
    };
  }
  PORTOLAN_RETURN_IF_ERROR(
      WriteResult(arguments.output, query, rows, labels, uns, client.interrupted(), more));
  std::ostream& out = invocation.console.out;
  if (invocation.json) {
    nlohmann::json result = ReportJson(report, context, BatchKeys::kNames);
    result["label_counts"] = LabelCountsJson(labels, rows.label_codes);
    result["output"] = arguments.output.output_path;
    out << JsonText(result);
  } else {
    out << MappingSummary(report, context, rows.label_codes, arguments.output.output_path);
  }
  return absl::OkStatus();
}

absl::Status Map(const MapArguments& arguments, Invocation& invocation) {
  PORTOLAN_RETURN_IF_ERROR(CheckOutput(arguments.output));
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  const InterruptGuard guard([&] { client->Interrupt(); });
  const absl::Status status = MapWith(*client, arguments, invocation);
  invocation.signal = guard.signal();
  return status;
}

}  // namespace

void AddMapCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* map = app.add_subcommand(
      "map", "Map query cells onto an atlas: embedding, labels and a new version");
  map->fallthrough();
  auto arguments = std::make_shared<MapArguments>();
  AddMapOptions(*map, *arguments);
  map->callback([arguments, &invocation] {
    arguments->output.query_path = arguments->query.path;
    invocation.run = [arguments](Invocation& run) { return Map(*arguments, run); };
  });
}

}  // namespace portolan::client
