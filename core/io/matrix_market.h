#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/text_lines.h"

namespace portolan {

/// A Matrix Market file in coordinate format (general; integer or real), plain or gzip, read entry
/// by entry. Not thread-safe.
class MatrixMarket {
 public:
  struct Entry {
    int64_t row = 0;     ///< from 0, below rows()
    int64_t column = 0;  ///< from 0, below columns()
    double value = 0;    ///< any number
  };

  /// Reads the header. `field` names the file in errors.
  static absl::StatusOr<MatrixMarket> Open(const std::string& path, const std::string& field);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }

  /// The next entry; nullopt after the last. Errors: InvalidField(field), naming the line, for what
  /// is no entry, stands outside the matrix, or for more or fewer entries than the header says.
  absl::StatusOr<std::optional<Entry>> Next();

 private:
  explicit MatrixMarket(TextLines lines) : lines_(std::move(lines)) {}
  absl::Status ReadHeader();
  absl::Status Wrong(const std::string& found) const;

  TextLines lines_;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  int64_t stored_ = 0;
  int64_t seen_ = 0;
};

}  // namespace portolan
