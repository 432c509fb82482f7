#include "core/io/mex_reader.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/count_matrix.h"
#include "core/io/matrix_market.h"
#include "core/io/protein_blocks.h"
#include "core/io/query_checks.h"
#include "core/io/row_blocks.h"
#include "core/io/tenx_features.h"
#include "core/io/text_lines.h"
#include "core/matrix/count_check.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;

constexpr char kCountRemedy[] = "Send the matrix as Cell Ranger wrote it, with raw counts.";
constexpr int64_t kEntriesBetweenChecks = 1 << 20;
constexpr size_t kFilesShown = 5;

std::string FileName(const std::string& path) { return fs::path(path).filename().string(); }

class MexReader : public QueryReader {
 public:
  MexReader(MexFiles files, std::vector<std::string> cells, TenxFeatures features)
      : files_(std::move(files)), cells_(std::move(cells)), features_(std::move(features)) {}

  // Reads the header and checks the sizes.
  absl::Status CheckMatrix() {
    PORTOLAN_ASSIGN_OR_RETURN(const MatrixMarket matrix, Open());
    const auto cells = static_cast<int64_t>(cells_.size());
    by_features_ = matrix.rows() == features_.size() && matrix.columns() == cells;
    if (by_features_ || (matrix.rows() == cells && matrix.columns() == features_.size())) {
      return absl::OkStatus();
    }
    return InvalidField(
        FileName(files_.matrix),
        absl::StrCat("a matrix of ", matrix.rows(), " x ", matrix.columns(), " beside ",
                     features_.size(), " features and ", cells, " barcodes"),
        "Send the three files of one matrix.");
  }

  const std::vector<std::string>& cell_names() const override { return cells_; }
  absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource& source) override {
    PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
    return features_.genes();
  }
  absl::Status ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                          int64_t max_rows, const CancelToken& cancel,
                          const BlockSink& sink) override {
    PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
    PORTOLAN_ASSIGN_OR_RETURN(const auto columns, features_.GeneColumns(alignment));
    return Read({columns, alignment.reference_genes()}, kCountRemedy, max_rows, cancel, sink);
  }

  std::string DeclaredProteins() const override { return features_.DeclaredProteins(); }
  absl::StatusOr<std::vector<std::string>> ProteinNames(const ProteinSource& source) override {
    return features_.ProteinNames(source);
  }
  absl::Status ReadProteins(const ProteinSource& source, const ProteinAlignment& alignment,
                            int64_t max_rows, const CancelToken& cancel,
                            const ProteinSink& sink) override {
    PORTOLAN_ASSIGN_OR_RETURN(const auto columns, features_.ProteinColumns(source, alignment));
    return Read({columns, alignment.reference_proteins()}, kProteinRemedy, max_rows, cancel,
                DenseProteins(sink));
  }

 private:
  struct Count {
    int32_t cell;
    int32_t column;
    float value;
  };
  using EntrySink = std::function<absl::Status(int64_t cell, int64_t feature, double value)>;

  absl::StatusOr<MatrixMarket> Open() const {
    return MatrixMarket::Open(files_.matrix, FileName(files_.matrix));
  }

  absl::Status ForEach(const CancelToken& cancel, const EntrySink& sink) const {
    PORTOLAN_ASSIGN_OR_RETURN(MatrixMarket matrix, Open());
    for (int64_t seen = 0;; ++seen) {
      if (seen % kEntriesBetweenChecks == 0) PORTOLAN_RETURN_IF_ERROR(cancel.Check());
      PORTOLAN_ASSIGN_OR_RETURN(const auto entry, matrix.Next());
      if (!entry.has_value()) return absl::OkStatus();
      PORTOLAN_RETURN_IF_ERROR(by_features_ ? sink(entry->column, entry->row, entry->value)
                                            : sink(entry->row, entry->column, entry->value));
    }
  }

  // Whether the entries come cell by cell. Reads the file once.
  absl::StatusOr<bool> IsSorted(const CancelToken& cancel) {
    if (sorted_.has_value()) return *sorted_;
    int64_t last = 0;
    bool sorted = true;
    PORTOLAN_RETURN_IF_ERROR(ForEach(cancel, [&](int64_t cell, int64_t, double) {
      sorted &= cell >= last;
      last = cell;
      return absl::OkStatus();
    }));
    sorted_ = sorted;
    return sorted;
  }

  absl::Status Read(const ColumnMap& columns, const char* remedy, int64_t max_rows,
                    const CancelToken& cancel, const BlockSink& sink) {
    PORTOLAN_RETURN_IF_ERROR(CheckMaxRows(max_rows));
    PORTOLAN_ASSIGN_OR_RETURN(const bool sorted, IsSorted(cancel));
    const auto cells = static_cast<int64_t>(cells_.size());
    const CountCheck check(FileName(files_.matrix), remedy);
    RowBlocks blocks(columns.reference_columns, std::min(max_rows, cells), sink);
    int64_t row = 0;
    const auto add = [&](int64_t cell, int32_t column, float value) -> absl::Status {
      for (; row < cell; ++row) PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
      blocks.Add(column, value);
      return absl::OkStatus();
    };
    std::vector<Count> kept;
    PORTOLAN_RETURN_IF_ERROR(
        ForEach(cancel, [&](int64_t cell, int64_t feature, double value) -> absl::Status {
          PORTOLAN_RETURN_IF_ERROR(check.Check(cell, std::span<const double>(&value, 1)));
          const int32_t column = columns.reference_column[feature];
          if (column < 0) return absl::OkStatus();
          if (sorted) return add(cell, column, static_cast<float>(value));
          kept.push_back({static_cast<int32_t>(cell), column, static_cast<float>(value)});
          return absl::OkStatus();
        }));
    std::stable_sort(kept.begin(), kept.end(),
                     [](const Count& a, const Count& b) { return a.cell < b.cell; });
    for (const Count& count : kept) {
      PORTOLAN_RETURN_IF_ERROR(add(count.cell, count.column, count.value));
    }
    for (; row < cells; ++row) PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
    return blocks.Finish();
  }

  MexFiles files_;
  std::vector<std::string> cells_;
  TenxFeatures features_;
  bool by_features_ = true;  // rows of the matrix are features, not cells
  std::optional<bool> sorted_;
};

// Calls `take` with the tab-separated fields of every line that is not blank.
template <typename Take>
absl::Status ReadFields(const std::string& path, const Take& take) {
  PORTOLAN_ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(path, FileName(path)));
  std::vector<std::string_view> fields;
  NameBytes names(FileName(path));
  while (true) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto line, lines.Next());
    if (!line.has_value()) return absl::OkStatus();
    if (line->empty()) continue;
    SplitFields(*line, '\t', fields);
    PORTOLAN_RETURN_IF_ERROR(names.Add(3, line->size()));
    take(fields);
  }
}

absl::StatusOr<TenxFeatureList> ReadFeatures(const std::string& path) {
  TenxFeatureList out;
  PORTOLAN_RETURN_IF_ERROR(ReadFields(path, [&](const std::vector<std::string_view>& fields) {
    out.ids.push_back(Unquoted(fields[0]));
    out.names.push_back(Unquoted(fields[fields.size() > 1 ? 1 : 0]));
    if (fields.size() > 2) out.types.push_back(Unquoted(fields[2]));
  }));
  return out;
}

// The file of this name, plain or compressed; empty if there is none.
std::string Existing(const fs::path& folder, const std::string& name) {
  std::error_code error;
  for (const char* end : {"", ".gz"}) {
    const fs::path path = folder / (name + end);
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return "";
}

// The start of "PREFIXmatrix.mtx" or "PREFIXmatrix.mtx.gz"; nullopt for another name.
std::optional<std::string> PrefixOf(std::string name) {
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  constexpr std::string_view kName = "matrix.mtx";
  if (!name.ends_with(kName)) return std::nullopt;
  return name.substr(0, name.size() - kName.size());
}

}  // namespace

absl::StatusOr<std::optional<MexFiles>> FindMex(const std::string& path) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  const fs::path folder = is_folder ? fs::path(path) : fs::path(path).parent_path();
  std::vector<std::string> matrices;
  if (!is_folder) {
    matrices.push_back(FileName(path));
  } else if (const std::string plain = Existing(folder, "matrix.mtx"); !plain.empty()) {
    matrices.push_back(FileName(plain));
  } else {
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (PrefixOf(name).has_value()) matrices.push_back(name);
    }
  }
  if (matrices.empty()) return std::nullopt;
  if (matrices.size() > 1) {
    std::sort(matrices.begin(), matrices.end());
    matrices.resize(std::min(matrices.size(), kFilesShown));
    return InvalidField(
        "file", absl::StrCat(path, " holds several matrices: ", absl::StrJoin(matrices, ", ")),
        "Name the one to map.");
  }
  const std::string prefix = PrefixOf(matrices[0]).value_or("");
  MexFiles out;
  out.matrix = (folder / matrices[0]).string();
  out.features = Existing(folder, prefix + "features.tsv");
  if (out.features.empty()) out.features = Existing(folder, prefix + "genes.tsv");
  out.barcodes = Existing(folder, prefix + "barcodes.tsv");
  if (!out.features.empty() && !out.barcodes.empty()) return out;
  return InvalidField(
      "file",
      absl::StrCat(out.matrix, " has no ", prefix,
                   out.barcodes.empty() ? "barcodes.tsv" : "features.tsv", " beside it"),
      "Keep matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv, or the three "
      "with .gz, in one folder.");
}

absl::StatusOr<std::unique_ptr<QueryReader>> OpenMex(const MexFiles& files,
                                                     std::span<const std::string> reference_genes) {
  std::vector<std::string> cells;
  PORTOLAN_RETURN_IF_ERROR(ReadFields(
      files.barcodes,
      [&](const std::vector<std::string_view>& fields) { cells.push_back(Unquoted(fields[0])); }));
  PORTOLAN_RETURN_IF_ERROR(
      CheckCellCount(FileName(files.barcodes), static_cast<int64_t>(cells.size())));
  PORTOLAN_RETURN_IF_ERROR(CheckCellNames(cells));
  PORTOLAN_ASSIGN_OR_RETURN(TenxFeatureList list, ReadFeatures(files.features));
  PORTOLAN_ASSIGN_OR_RETURN(
      TenxFeatures features,
      TenxFeatures::Create(std::move(list), reference_genes, FileName(files.features)));
  auto reader = std::make_unique<MexReader>(files, std::move(cells), std::move(features));
  PORTOLAN_RETURN_IF_ERROR(reader->CheckMatrix());
  return reader;
}

}  // namespace portolan
