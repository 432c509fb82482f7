#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// The lines of a text file, plain or compressed with gzip (told by content), one after the other.
/// Memory: one buffer and the longest line, which is bounded. Not thread-safe.
class TextLines {
 public:
  /// `field` names the file in errors. Errors: kNotFound, kPermissionDenied.
  static absl::StatusOr<TextLines> Open(const std::string& path, const std::string& field);

  TextLines(TextLines&&) noexcept;
  TextLines& operator=(TextLines&&) noexcept;
  ~TextLines();

  /// The next line, without its end ("\n" or "\r\n"); nullopt at the end of the file. Valid until
  /// the next call. Errors: InvalidField(field) for a truncated or damaged gzip file, and for a
  /// line beyond 256 MiB.
  absl::StatusOr<std::optional<std::string_view>> Next();

  /// Of the line that Next() gave last, from 1.
  int64_t line_number() const { return line_number_; }
  const std::string& field() const { return field_; }

 private:
  struct Stream;
  explicit TextLines(std::unique_ptr<Stream> stream, std::string field);
  absl::StatusOr<bool> Fill();

  std::unique_ptr<Stream> stream_;
  std::string field_;
  std::string buffer_;
  size_t at_ = 0;  // of the rest of buffer_ that no line took yet
  bool ended_ = false;
  int64_t line_number_ = 0;
};

/// The first bytes of a file, expanded where it is compressed with gzip; fewer at its end or where
/// it is damaged.
std::string FirstBytes(const std::string& path, size_t count);

/// Splits a line at `separator`, but not inside double quotes; at runs of blanks, and without
/// regard to quotes, where it is a blank. False, with the rest left out, beyond `kMostFields`.
inline constexpr size_t kMostFields = size_t{1} << 24;
bool SplitFields(std::string_view line, char separator, std::vector<std::string_view>& out);

/// Adds up what names take in memory. Errors: InvalidField(field) beyond 2 GiB.
class NameBytes {
 public:
  explicit NameBytes(std::string field) : field_(std::move(field)) {}
  absl::Status Add(size_t names, size_t bytes);

 private:
  std::string field_;
  size_t sum_ = 0;
};

/// A field without the quotes around it, doubled quotes inside made single.
std::string Unquoted(std::string_view field);

}  // namespace portolan
