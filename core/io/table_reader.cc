#include "core/io/table_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/matched_columns.h"
#include "core/io/query_checks.h"
#include "core/io/row_blocks.h"
#include "core/io/text_lines.h"
#include "core/matrix/count_check.h"

namespace portolan {
namespace {

using Fields = std::vector<std::string_view>;

constexpr char kField[] = "file";
constexpr char kCountRemedy[] =
    "Send a table of raw counts: neither normalised nor logarithms, one number in each field.";
constexpr size_t kLongestShown = 40;
constexpr int64_t kValuesBetweenChecks = 1 << 22;

char SeparatorOf(std::string_view header) {
  for (const char separator : {'\t', ',', ';'}) {
    if (header.find(separator) != std::string_view::npos) return separator;
  }
  return '\0';
}

bool ParseNumber(std::string_view text, double& out) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end;
}

bool IsMissing(const std::string& text) {
  return text.empty() || text == "NA" || text == "NaN" || text == "nan" || text == "None";
}

// The lines below the header, split and checked to have as many fields as the first.
class TableRows {
 public:
  static absl::StatusOr<TableRows> Open(const std::string& path) {
    PORTOLAN_ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(path, kField));
    PORTOLAN_ASSIGN_OR_RETURN(const auto header, lines.Next());
    const char separator = SeparatorOf(header.value_or(""));
    if (separator == '\0') {
      return InvalidField(kField, "no table: its first line has neither tab nor comma",
                          "Send a csv or tsv file whose first line names the columns.");
    }
    Fields fields;
    std::string_view line = header.value_or("");
    if (line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (!SplitFields(line, separator, fields)) return TooWide(lines);
    std::vector<std::string> names;
    for (const std::string_view field : fields) names.push_back(Unquoted(field));
    return TableRows(std::move(lines), separator, std::move(names));
  }

  const std::vector<std::string>& header() const { return header_; }
  size_t width() const { return width_; }  // fields of a line, known from the first
  int64_t line_number() const { return lines_.line_number(); }

  // False after the last line. `fields` are valid until the next call.
  absl::StatusOr<bool> Next(Fields& fields) {
    std::optional<std::string_view> line;
    do {
      PORTOLAN_ASSIGN_OR_RETURN(line, lines_.Next());
      if (!line.has_value()) return false;
    } while (line->empty());
    if (!SplitFields(*line, separator_, fields)) return TooWide(lines_);
    const bool first = width_ == 0;
    if (first) width_ = fields.size();
    const bool fits =
        first ? width_ == header_.size() || width_ == header_.size() + 1 : width_ == fields.size();
    if (fits && width_ > 1) return true;
    return InvalidField(kField,
                        absl::StrCat("line ", lines_.line_number(), " has ", fields.size(),
                                     " fields, the first line ", header_.size()),
                        "Every line holds a row name and one number for each column.");
  }

 private:
  static absl::Status TooWide(const TextLines& lines) {
    return InvalidField(
        kField,
        absl::StrCat("line ", lines.line_number(), " has more than ", kMostFields, " fields"),
        "Split the table into smaller ones.");
  }

  TableRows(TextLines lines, char separator, std::vector<std::string> header)
      : lines_(std::move(lines)), separator_(separator), header_(std::move(header)) {}

  TextLines lines_;
  char separator_;
  std::vector<std::string> header_;
  size_t width_ = 0;
};

class TableReader : public QueryReader {
 public:
  explicit TableReader(std::string path) : path_(std::move(path)) {}

  // Reads the names, and decides what they are names of.
  absl::Status Survey(std::span<const std::string> reference_genes);

  const std::vector<std::string>& cell_names() const override { return cells_; }
  absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource& source) override {
    PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
    return genes_;
  }
  std::vector<std::string> ObsColumnNames() const override { return obs_names_; }
  absl::StatusOr<ObsColumn> ReadObs(const std::string& column) override;
  absl::Status ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                          int64_t max_rows, const CancelToken& cancel,
                          const BlockSink& sink) override;

 private:
  absl::Status ReadNames(std::vector<std::string>& rows, Fields& first, std::string& first_line);
  absl::Status ReadByCells(const GeneAlignment& alignment, const CancelToken& cancel,
                           RowBlocks& blocks) const;
  absl::Status ReadByGenes(const GeneAlignment& alignment, int64_t max_rows,
                           const CancelToken& cancel, RowBlocks& blocks) const;
  absl::StatusOr<float> Number(const Fields& fields, size_t column, int64_t cell,
                               const TableRows& rows) const;
  absl::Status Changed() const {
    return InvalidField(kField, absl::StrCat(path_, " changed while it was read"),
                        "Map it again once nobody writes to it.");
  }

  std::string path_;
  bool by_cells_ = true;              // rows are cells
  std::vector<std::string> columns_;  // names of the columns after the row names
  std::vector<std::string> cells_;
  std::vector<std::string> genes_;
  std::vector<size_t> gene_columns_;    // by cells: where genes_ stand among columns_
  std::vector<std::string> obs_names_;  // by cells: the other columns
  const CountCheck check_{kField, kCountRemedy};
};

// Row names, and the fields of the first row, which refer to `first_line`.
absl::Status TableReader::ReadNames(std::vector<std::string>& row_names, Fields& first,
                                    std::string& first_line) {
  PORTOLAN_ASSIGN_OR_RETURN(TableRows rows, TableRows::Open(path_));
  Fields fields;
  NameBytes names(kField);
  while (true) {
    PORTOLAN_ASSIGN_OR_RETURN(const bool more, rows.Next(fields));
    if (!more) break;
    if (row_names.empty()) {
      // What the fields refer to lives as long as the line.
      const char* const begin = fields.front().data();
      first_line.assign(begin, fields.back().data() + fields.back().size());
      for (const std::string_view field : fields) {
        first.push_back(std::string_view(first_line).substr(field.data() - begin, field.size()));
      }
    }
    row_names.push_back(Unquoted(fields[0]));
    PORTOLAN_RETURN_IF_ERROR(names.Add(1, fields[0].size()));
  }
  columns_ = rows.header();
  // The field above the row names is no column.
  if (columns_.size() == rows.width()) columns_.erase(columns_.begin());
  return absl::OkStatus();
}

absl::Status TableReader::Survey(std::span<const std::string> reference_genes) {
  std::vector<std::string> row_names;
  Fields first;
  std::string first_line;
  PORTOLAN_RETURN_IF_ERROR(ReadNames(row_names, first, first_line));
  if (row_names.empty()) return CheckCellCount(kField, 0);
  by_cells_ = CountMatches(reference_genes, columns_) >= CountMatches(reference_genes, row_names);
  if (by_cells_) {
    double ignored = 0;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (ParseNumber(first[i + 1], ignored)) {
        genes_.push_back(columns_[i]);
        gene_columns_.push_back(i);
      } else {
        obs_names_.push_back(columns_[i]);
      }
    }
    cells_ = std::move(row_names);
  } else {
    genes_ = std::move(row_names);
    cells_ = columns_;
  }
  PORTOLAN_RETURN_IF_ERROR(CheckCellCount(kField, static_cast<int64_t>(cells_.size())));
  PORTOLAN_RETURN_IF_ERROR(CheckGeneCount(kField, static_cast<int64_t>(genes_.size())));
  return CheckCellNames(cells_);
}

absl::StatusOr<ObsColumn> TableReader::ReadObs(const std::string& column) {
  const auto known = std::find(obs_names_.begin(), obs_names_.end(), column);
  if (known == obs_names_.end()) {
    return InvalidField("obs", absl::StrCat("no column ", column),
                        "The table has no column of text with this name.");
  }
  const size_t at = std::find(columns_.begin(), columns_.end(), column) - columns_.begin() + 1;
  ObsColumn out;
  PORTOLAN_ASSIGN_OR_RETURN(TableRows rows, TableRows::Open(path_));
  Fields fields;
  while (true) {
    PORTOLAN_ASSIGN_OR_RETURN(const bool more, rows.Next(fields));
    if (!more) break;
    if (at >= fields.size()) return Changed();
    std::string text = Unquoted(fields[at]);
    out.values.push_back(IsMissing(text) ? std::nullopt : std::optional(std::move(text)));
  }
  if (out.values.size() != cells_.size()) return Changed();
  return out;
}

absl::StatusOr<float> TableReader::Number(const Fields& fields, size_t column, int64_t cell,
                                          const TableRows& rows) const {
  const std::string_view text = fields[column + 1];
  if (text.size() == 1 && text[0] >= '0' && text[0] <= '9') {
    return static_cast<float>(text[0] - '0');
  }
  double value = 0;
  if (!ParseNumber(text, value)) {
    return InvalidField(
        kField,
        absl::StrCat("line ", rows.line_number(), ", column ", columns_[column], ": '",
                     std::string(text.substr(0, kLongestShown)), "' is no number"),
        kCountRemedy);
  }
  PORTOLAN_RETURN_IF_ERROR(check_.Check(cell, std::span<const double>(&value, 1)));
  return static_cast<float>(value);
}

absl::Status TableReader::ReadByCells(const GeneAlignment& alignment, const CancelToken& cancel,
                                      RowBlocks& blocks) const {
  PORTOLAN_ASSIGN_OR_RETURN(TableRows rows, TableRows::Open(path_));
  Fields fields;
  size_t cell = 0;
  int64_t values = 0;
  while (true) {
    PORTOLAN_ASSIGN_OR_RETURN(const bool more, rows.Next(fields));
    if (!more) break;
    if (cell == cells_.size() || fields.size() != columns_.size() + 1) return Changed();
    for (size_t i = 0; i < gene_columns_.size(); ++i) {
      PORTOLAN_ASSIGN_OR_RETURN(const float value,
                                Number(fields, gene_columns_[i], static_cast<int64_t>(cell), rows));
      const int32_t gene = alignment.reference_column(static_cast<int64_t>(i));
      if (gene >= 0 && value != 0.0f) blocks.Add(gene, value);
    }
    ++cell;
    PORTOLAN_RETURN_IF_ERROR(blocks.EndRow());
    values += static_cast<int64_t>(fields.size());
    if (values > kValuesBetweenChecks) {
      values = 0;
      PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    }
  }
  if (cell != cells_.size()) return Changed();
  return blocks.Finish();
}

absl::Status TableReader::ReadByGenes(const GeneAlignment& alignment, int64_t max_rows,
                                      const CancelToken& cancel, RowBlocks& blocks) const {
  PORTOLAN_ASSIGN_OR_RETURN(TableRows rows, TableRows::Open(path_));
  MatchedColumns matched;
  Fields fields;
  size_t row = 0;
  while (true) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    PORTOLAN_ASSIGN_OR_RETURN(const bool more, rows.Next(fields));
    if (!more) break;
    if (row == genes_.size() || fields.size() != columns_.size() + 1) return Changed();
    const int32_t gene = alignment.reference_column(static_cast<int64_t>(row));
    for (size_t cell = 0; cell < cells_.size(); ++cell) {
      PORTOLAN_ASSIGN_OR_RETURN(const float value,
                                Number(fields, cell, static_cast<int64_t>(cell), rows));
      if (gene >= 0 && value != 0.0f) matched.Add(static_cast<int32_t>(cell), value);
    }
    if (gene >= 0) matched.EndColumn(gene);
    ++row;
  }
  if (row != genes_.size()) return Changed();
  return matched.EmitRows(static_cast<int64_t>(cells_.size()), max_rows, cancel, blocks);
}

absl::Status TableReader::ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                                     int64_t max_rows, const CancelToken& cancel,
                                     const BlockSink& sink) {
  PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
  PORTOLAN_RETURN_IF_ERROR(CheckMaxRows(max_rows));
  if (alignment.query_genes() != static_cast<int64_t>(genes_.size())) {
    return InvalidField("X",
                        absl::StrCat(genes_.size(), " genes, aligned as ", alignment.query_genes()),
                        "Align the genes of the same table.");
  }
  const int64_t step = std::min(max_rows, static_cast<int64_t>(cells_.size()));
  RowBlocks blocks(alignment.reference_genes(), step, sink);
  return by_cells_ ? ReadByCells(alignment, cancel, blocks)
                   : ReadByGenes(alignment, step, cancel, blocks);
}

}  // namespace

bool LooksLikeTable(std::string_view head) {
  return SeparatorOf(head.substr(0, head.find_first_of("\r\n"))) != '\0';
}

absl::StatusOr<std::unique_ptr<QueryReader>> OpenTable(
    const std::string& path, std::span<const std::string> reference_genes) {
  auto reader = std::make_unique<TableReader>(path);
  PORTOLAN_RETURN_IF_ERROR(reader->Survey(reference_genes));
  return reader;
}

}  // namespace portolan
