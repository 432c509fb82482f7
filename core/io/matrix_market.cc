#include "core/io/matrix_market.h"

#include <charconv>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr int64_t kMostEntries = int64_t{1} << 48;

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// Takes one number off the front of `text`, with the blanks before it.
template <typename T>
bool Take(std::string_view& text, T& out) {
  size_t start = 0;
  while (start < text.size() && IsBlank(text[start])) ++start;
  if (start < text.size() && text[start] == '+') ++start;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + start, end, out);
  if (error != std::errc() || (stop != end && !IsBlank(*stop))) return false;
  text.remove_prefix(stop - text.data());
  return true;
}

bool IsEmpty(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<MatrixMarket> MatrixMarket::Open(const std::string& path, const std::string& field) {
  PORTOLAN_ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(path, field));
  MatrixMarket out(std::move(lines));
  PORTOLAN_RETURN_IF_ERROR(out.ReadHeader());
  return out;
}

absl::Status MatrixMarket::Wrong(const std::string& found) const {
  return InvalidField(lines_.field(), absl::StrCat("line ", lines_.line_number(), ": ", found),
                      "The file may be truncated or damaged: copy or write it again.");
}

absl::Status MatrixMarket::ReadHeader() {
  PORTOLAN_ASSIGN_OR_RETURN(std::optional<std::string_view> line, lines_.Next());
  std::vector<std::string_view> words;
  std::string header;
  if (line.has_value() && line->size() < 256) header = std::string(*line);
  absl::AsciiStrToLower(&header);
  SplitFields(header, ' ', words);
  const bool known = words.size() == 5 && words[0] == "%%matrixmarket" && words[1] == "matrix" &&
                     words[2] == "coordinate" && (words[3] == "integer" || words[3] == "real") &&
                     words[4] == "general";
  if (!known) {
    return InvalidField(lines_.field(),
                        "does not begin as a Matrix Market file of counts: %%MatrixMarket matrix "
                        "coordinate integer general",
                        "Send the matrix as Cell Ranger writes it.");
  }
  do {
    PORTOLAN_ASSIGN_OR_RETURN(line, lines_.Next());
  } while (line.has_value() && (line->starts_with('%') || IsEmpty(*line)));
  std::string_view rest = line.value_or("");
  const bool sizes = Take(rest, rows_) && Take(rest, columns_) && Take(rest, stored_);
  if (!sizes || !IsEmpty(rest) || rows_ < 0 || columns_ < 0 || stored_ < 0 ||
      stored_ > kMostEntries) {
    return Wrong("no line of three sizes (rows, columns, entries)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<MatrixMarket::Entry>> MatrixMarket::Next() {
  std::optional<std::string_view> line;
  do {
    PORTOLAN_ASSIGN_OR_RETURN(line, lines_.Next());
  } while (line.has_value() && IsEmpty(*line));
  if (!line.has_value()) {
    if (seen_ == stored_) return std::nullopt;
    return Wrong(absl::StrCat("the file ends after ", seen_, " of ", stored_, " entries"));
  }
  if (seen_ == stored_) return Wrong(absl::StrCat("more than the ", stored_, " entries announced"));
  Entry entry;
  std::string_view rest = *line;
  if (!Take(rest, entry.row) || !Take(rest, entry.column) || !Take(rest, entry.value) ||
      !IsEmpty(rest)) {
    return Wrong("no entry of row, column and value");
  }
  if (entry.row < 1 || entry.row > rows_ || entry.column < 1 || entry.column > columns_) {
    return Wrong(absl::StrCat("the entry (", entry.row, ", ", entry.column, ") of a matrix of ",
                              rows_, " x ", columns_));
  }
  --entry.row;
  --entry.column;
  ++seen_;
  return entry;
}

}  // namespace portolan
