#include "client/cli/query.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

constexpr size_t kNamesInErrors = 20;
constexpr int64_t kPeekRows = 64;

std::string NameList(std::span<const std::string> names) {
  const auto shown = names.first(std::min(names.size(), kNamesInErrors));
  std::string text = absl::StrJoin(shown.begin(), shown.end(), ", ");
  if (names.size() > shown.size()) {
    absl::StrAppend(&text, " and ", names.size() - shown.size(), " more");
  }
  return text.empty() ? "none" : text;
}

// The wire's strings are UTF-8; files written long ago may hold other encodings.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || i + more > text.size()) return false;
    uint32_t code = lead & (0x3f >> more);
    for (int k = 0; k < more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      if ((byte & 0xc0) != 0x80) return false;
      code = code << 6 | (byte & 0x3f);
    }
    const bool overlong = (more == 2 && code < 0x800) || (more == 3 && code < 0x10000);
    if (overlong || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  }
  return true;
}

absl::Status CheckUtf8(const char* field, const char* what, std::span<const std::string> names) {
  const auto bad = std::find_if_not(names.begin(), names.end(), IsUtf8);
  if (bad == names.end()) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(what, " ", bad - names.begin(), " is not UTF-8"),
                      "Write the file again with a current anndata.");
}

absl::StatusOr<BatchAssignment> ReadBatches(const QueryArguments& arguments, QueryReader& reader) {
  const std::vector<std::string>& cell_names = reader.cell_names();
  if (arguments.batch_key.empty()) {
    const auto cells = static_cast<int64_t>(cell_names.size());
    return BatchAssignment{{arguments.batch}, std::vector<int32_t>(cell_names.size(), 0), {cells}};
  }
  const std::vector<std::string> columns = reader.ObsColumnNames();
  if (std::find(columns.begin(), columns.end(), arguments.batch_key) == columns.end()) {
    return InvalidField("batch_key",
                        absl::StrCat("obs has no column '", arguments.batch_key,
                                     "'; its columns are: ", NameList(columns)),
                        "Name the obs column that tells the batches apart with --batch-key, or "
                        "the one batch of all cells with --batch.");
  }
  PORTOLAN_ASSIGN_OR_RETURN(const ObsColumn column, reader.ReadObs(arguments.batch_key));
  return AssignBatches(arguments.batch_key, column, cell_names);
}

// The names under which raw counts are commonly kept.
std::vector<std::string> UsualCountSources() {
  return {"X", "raw/X", "layers/counts", "layers/raw_counts", "layers/raw", "layers/umi"};
}

}  // namespace

MatrixSource SourceOf(const QueryArguments& arguments) {
  if (arguments.raw) return {"raw/X"};
  if (!arguments.layer.empty()) return {absl::StrCat("layers/", arguments.layer)};
  return {"X"};
}

absl::StatusOr<BatchAssignment> AssignBatches(const std::string& batch_key, const ObsColumn& column,
                                              const std::vector<std::string>& cell_names) {
  std::map<std::string, int32_t> codes;
  int64_t absent = 0;
  size_t first_absent = 0;
  for (size_t cell = 0; cell < column.values.size(); ++cell) {
    if (column.values[cell]) {
      codes.emplace(*column.values[cell], 0);
    } else if (absent++ == 0) {
      first_absent = cell;
    }
  }
  if (absent > 0) {
    return InvalidField("batch_key",
                        absl::StrCat(absent, " of ", cell_names.size(), " cells have no value in '",
                                     batch_key, "', the first is '", cell_names[first_absent], "'"),
                        "Give every cell a batch, or leave these cells out.");
  }
  BatchAssignment out;
  for (auto& [name, code] : codes) {
    code = static_cast<int32_t>(out.names.size());
    out.names.push_back(name);
  }
  out.cells.resize(out.names.size());
  out.codes.reserve(column.values.size());
  for (const auto& value : column.values) {
    out.codes.push_back(codes.find(*value)->second);
    ++out.cells[out.codes.back()];
  }
  return out;
}

absl::Status RefuseSingleCellBatches(const BatchAssignment& batches,
                                     const std::set<std::string>& known,
                                     const std::vector<std::string>& cell_names) {
  for (size_t batch = 0; batch < batches.names.size(); ++batch) {
    if (batches.cells[batch] > 1 || known.contains(batches.names[batch])) continue;
    const auto cell = std::find(batches.codes.begin(), batches.codes.end(), batch);
    return InvalidField("batch_key",
                        absl::StrCat("batch '", batches.names[batch], "' has a single cell, '",
                                     cell_names[cell - batches.codes.begin()], "'"),
                        "Leave that cell out, or give it the name of the batch it belongs to.");
  }
  return absl::OkStatus();
}

absl::Status RefuseUnknownBatches(const BatchAssignment& batches, const v1::Version& version) {
  const std::vector<std::string> known(version.batches().begin(), version.batches().end());
  for (const std::string& name : batches.names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return InvalidField(
        "batch",
        absl::StrCat("version ", version.id(), " does not know batch '", name,
                     "'; it knows: ", NameList(known)),
        "Choose a version that knows the batch with --version, or map the cells with 'portolan "
        "map'.");
  }
  return absl::OkStatus();
}

Query::Query(QueryArguments arguments, std::vector<std::string> genes,
             std::unique_ptr<QueryReader> reader, GeneAlignment alignment, BatchAssignment batches)
    : arguments_(std::move(arguments)),
      reference_genes_(std::move(genes)),
      reader_(std::move(reader)),
      alignment_(std::move(alignment)),
      batches_(std::move(batches)) {}

absl::StatusOr<Query> Query::Open(const QueryArguments& arguments, const v1::Version& version) {
  std::vector<std::string> genes(version.genes().begin(), version.genes().end());
  PORTOLAN_ASSIGN_OR_RETURN(std::unique_ptr<QueryReader> reader,
                            OpenQuery(arguments.path, {.reference_genes = genes}));
  PORTOLAN_ASSIGN_OR_RETURN(BatchAssignment batches, ReadBatches(arguments, *reader));
  PORTOLAN_RETURN_IF_ERROR(CheckUtf8("obs_names", "the name of cell", reader->cell_names()));
  PORTOLAN_RETURN_IF_ERROR(CheckUtf8(arguments.batch_key.empty() ? "batch" : "batch_key",
                                     "the name of batch", batches.names));
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> query_genes,
                            reader->GeneNames(SourceOf(arguments)));
  GeneAlignmentOptions options;
  options.min_share = arguments.min_gene_share;
  PORTOLAN_ASSIGN_OR_RETURN(
      GeneAlignment alignment,
      GeneAlignment::Create(genes, query_genes, reader->cell_names(), options));
  Query query(arguments, std::move(genes), std::move(reader), std::move(alignment),
              std::move(batches));
  PORTOLAN_RETURN_IF_ERROR(query.AlignProteins(version));
  return query;
}

absl::Status Query::AlignProteins(const v1::Version& version) {
  ProteinSource& source = arguments_.proteins;
  if (version.proteins().empty()) {
    if (source.key.empty()) return absl::OkStatus();
    return InvalidField("proteins", absl::StrCat("'", source.key, "' for a model without proteins"),
                        "Leave --proteins out, or choose a TOTALVI atlas.");
  }
  if (source.key.empty()) source.key = reader_->DeclaredProteins();
  if (source.key.empty()) return absl::OkStatus();
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, reader_->ProteinNames(source));
  const std::vector<std::string> panel(version.proteins().begin(), version.proteins().end());
  PORTOLAN_ASSIGN_OR_RETURN(proteins_, ProteinAlignment::Create(panel, names));
  return CheckUtf8("proteins", "the name of protein", names);
}

absl::StatusOr<std::vector<float>> Query::ReadProteins(const CancelToken& cancel) {
  std::vector<float> all;
  if (!proteins_.has_value()) return all;
  all.reserve(cells() * proteins_->reference_proteins());
  PORTOLAN_RETURN_IF_ERROR(
      reader_->ReadProteins(arguments_.proteins, *proteins_, arguments_.chunk_cells, cancel,
                            [&](int64_t, const std::vector<float>& values) {
                              all.insert(all.end(), values.begin(), values.end());
                              return absl::OkStatus();
                            }));
  return all;
}

std::optional<v1::ProteinReport> Query::WireProteins() const {
  if (!proteins_.has_value()) return std::nullopt;
  const ProteinReport& report = proteins_->report();
  v1::ProteinReport wire;
  wire.set_reference_proteins(report.reference_proteins);
  wire.set_matched(report.matched);
  wire.mutable_missing()->Add(report.missing.begin(), report.missing.end());
  wire.mutable_extra()->Add(report.extra.begin(), report.extra.end());
  for (const auto& [query, reference] : report.renamed) {
    v1::ProteinReport::Renamed* pair = wire.add_renamed();
    pair->set_query(query);
    pair->set_reference(reference);
  }
  return wire;
}

std::string Query::batch_column() const {
  std::string name = arguments_.batch_key.empty() ? "batch" : arguments_.batch_key;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

absl::Status Query::Annotate(const v1::Model& model, AnnotationUse use) {
  PORTOLAN_ASSIGN_OR_RETURN(annotations_,
                            ReadAnnotations(arguments_.annotations, model, use, *reader_));
  return absl::OkStatus();
}

v1::GeneReport Query::WireGenes() const {
  const GeneReport& report = alignment_.report();
  v1::GeneReport wire;
  wire.set_reference_genes(report.reference_genes);
  wire.set_matched(report.matched);
  wire.mutable_missing()->Add(report.missing.begin(), report.missing.end());
  wire.set_extra(report.extra);
  wire.mutable_duplicated()->Add(report.duplicated.begin(), report.duplicated.end());
  wire.set_reordered(report.reordered);
  return wire;
}

absl::Status Query::ReadCells(const CancelToken& cancel, const CellSink& sink) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<float> proteins, ReadProteins(cancel));
  const int64_t width = proteins_.has_value() ? proteins_->reference_proteins() : 0;
  const MatrixSource source = SourceOf(arguments_);
  const absl::Status status = reader_->ReadCounts(
      source, alignment_, arguments_.chunk_cells, cancel,
      [&](int64_t first_row, const CsrMatrix& block) {
        const auto names = std::span(reader_->cell_names()).subspan(first_row, block.rows());
        const auto codes =
            std::span<const int32_t>(batches_.codes).subspan(first_row, block.rows());
        const auto panel =
            std::span<const float>(proteins).subspan(first_row * width, block.rows() * width);
        std::vector<int64_t> rows(block.rows());
        std::iota(rows.begin(), rows.end(), first_row);
        return sink({.cell_names = names,
                     .batch_codes = codes,
                     .counts = block,
                     .annotations = annotations_.SelectRows(rows),
                     .proteins = panel});
      });
  const auto violation = GetFieldViolation(status);
  if (absl::IsInvalidArgument(status) && violation && violation->field == source.path) {
    return PointAtCounts(status, cancel);
  }
  return status;
}

bool Query::LooksLikeCounts(const MatrixSource& source, const CancelToken& cancel) {
  const auto genes = reader_->GeneNames(source);
  if (!genes.ok()) return false;
  GeneAlignmentOptions options;
  options.min_share = arguments_.min_gene_share;
  const auto alignment =
      GeneAlignment::Create(reference_genes_, *genes, reader_->cell_names(), options);
  if (!alignment.ok()) return false;
  bool looked = false;
  // The first block tells enough; the sink's error ends the reading.
  const absl::Status status = reader_->ReadCounts(source, *alignment, kPeekRows, cancel,
                                                  [&](int64_t, const CsrMatrix& block) {
                                                    looked = block.nonzeros() > 0;
                                                    return absl::CancelledError("seen enough");
                                                  });
  return looked && absl::IsCancelled(status);
}

absl::Status Query::PointAtCounts(const absl::Status& refused, const CancelToken& cancel) {
  const FieldViolation violation = *GetFieldViolation(refused);
  for (const std::string& path : UsualCountSources()) {
    if (path == violation.field || !LooksLikeCounts({path}, cancel)) continue;
    std::string option = "without --layer and --raw";
    if (path == "raw/X") option = "with --raw";
    if (path.starts_with("layers/")) option = "with --layer " + path.substr(7);
    return InvalidField(
        violation.field, violation.found,
        absl::StrCat(path, " of the same file looks like counts: run again ", option, "."));
  }
  return refused;
}

}  // namespace portolan::client
