#include "core/io/text_lines.h"

#include <zlib.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr size_t kLongestLine = size_t{256} << 20;
constexpr size_t kMostNameBytes = size_t{2} << 30;
constexpr unsigned kReadBytes = 1 << 18;

absl::Status CannotOpen(const std::string& path, const std::string& field) {
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  return FieldError(exists ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kNotFound,
                    field, absl::StrCat(path, exists ? " cannot be read" : " does not exist"),
                    exists ? "Check the file's permissions." : "Check the path.");
}

}  // namespace

struct TextLines::Stream {
  gzFile file = nullptr;
  ~Stream() {
    if (file != nullptr) gzclose(file);
  }
};

TextLines::TextLines(std::unique_ptr<Stream> stream, std::string field)
    : stream_(std::move(stream)), field_(std::move(field)) {}
TextLines::TextLines(TextLines&&) noexcept = default;
TextLines& TextLines::operator=(TextLines&&) noexcept = default;
TextLines::~TextLines() = default;

absl::StatusOr<TextLines> TextLines::Open(const std::string& path, const std::string& field) {
  std::error_code error;
  auto stream = std::make_unique<Stream>();
  // gzopen hands a plain file's bytes on as they are.
  if (std::filesystem::is_regular_file(path, error)) stream->file = gzopen(path.c_str(), "rbe");
  if (stream->file == nullptr) return CannotOpen(path, field);
  gzbuffer(stream->file, kReadBytes);
  return TextLines(std::move(stream), field);
}

// Appends to the buffer; false at the end of the file.
absl::StatusOr<bool> TextLines::Fill() {
  if (at_ > 0) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  if (buffer_.size() > kLongestLine) {
    return InvalidField(field_, absl::StrCat("line ", line_number_ + 1, " is longer than 256 MiB"),
                        "Check that this is a table of text, or split it into smaller ones.");
  }
  const size_t held = buffer_.size();
  buffer_.resize(held + kReadBytes);
  const int got = gzread(stream_->file, buffer_.data() + held, kReadBytes);
  buffer_.resize(held + static_cast<size_t>(std::max(got, 0)));
  int code = Z_OK;
  if (got <= 0) gzerror(stream_->file, &code);
  if (code != Z_OK && code != Z_STREAM_END) {
    return InvalidField(field_,
                        absl::StrCat("cannot be expanded after line ", line_number_,
                                     ": the gzip data ends early or is damaged"),
                        "Copy or download the file again.");
  }
  return got > 0;
}

absl::StatusOr<std::optional<std::string_view>> TextLines::Next() {
  size_t searched = at_;
  while (true) {
    const size_t end = buffer_.find('\n', searched);
    if (end == std::string::npos && !ended_) {
      searched = buffer_.size() - at_;  // Fill() moves the rest to the front
      PORTOLAN_ASSIGN_OR_RETURN(const bool more, Fill());
      ended_ = !more;
      continue;
    }
    const size_t stop = end == std::string::npos ? buffer_.size() : end;
    if (end == std::string::npos && at_ == buffer_.size()) return std::nullopt;
    std::string_view line(buffer_.data() + at_, stop - at_);
    at_ = end == std::string::npos ? stop : end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    ++line_number_;
    return line;
  }
}

std::string FirstBytes(const std::string& path, size_t count) {
  std::string out(count, '\0');
  gzFile const file = gzopen(path.c_str(), "rbe");
  if (file == nullptr) return "";
  const int got = gzread(file, out.data(), static_cast<unsigned>(count));
  gzclose(file);
  out.resize(static_cast<size_t>(std::max(got, 0)));
  return out;
}

bool SplitFields(std::string_view line, char separator, std::vector<std::string_view>& out) {
  out.clear();
  const bool runs = separator == ' ';
  const auto splits = [&](char c) { return runs ? c == ' ' || c == '\t' : c == separator; };
  size_t start = 0;
  bool quoted = false;
  for (size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '"' && !runs) {
      if (!quoted) {
        quoted = i == start;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        ++i;
      } else {
        quoted = false;
      }
      continue;
    }
    if (i < line.size() && (quoted || !splits(line[i]))) continue;
    if (out.size() == kMostFields) return false;
    if (!runs || i > start) out.push_back(line.substr(start, i - start));
    start = i + 1;
  }
  return true;
}

absl::Status NameBytes::Add(size_t names, size_t bytes) {
  sum_ += names * sizeof(std::string) + bytes;
  if (sum_ <= kMostNameBytes) return absl::OkStatus();
  return InvalidField(field_, "more than 2 GiB of names", "Split the file into smaller ones.");
}

std::string Unquoted(std::string_view field) {
  if (field.size() < 2 || field.front() != '"' || field.back() != '"') return std::string(field);
  field = field.substr(1, field.size() - 2);
  std::string out;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '"' && i + 1 < field.size() && field[i + 1] == '"') ++i;
    out.push_back(field[i]);
  }
  return out;
}

}  // namespace portolan
