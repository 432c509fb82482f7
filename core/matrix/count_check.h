#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace portolan {

/// Refuses values that are not counts, while they stream by. Every value of the file is seen, also
/// those of genes that the reference lacks. One object per reading; not thread-safe.
class CountCheck {
 public:
  /// `field`: where the values come from, as the user names it ("X", "layers/counts", "raw/X").
  /// `remedy`: what to do where they are no counts; empty: how to point at the layer that holds
  /// the counts of an h5ad file.
  explicit CountCheck(std::string_view field, std::string_view remedy = {})
      : field_(field), remedy_(remedy) {}

  /// InvalidField(field) at the first value that is NaN, infinite, negative, fractional or above
  /// 2^24 (float32 holds whole numbers exactly only up to there); names the cell's row and the
  /// value.
  absl::Status Check(int64_t row, std::span<const float> values) const;
  absl::Status Check(int64_t row, std::span<const double> values) const;

 private:
  std::string field_;
  std::string remedy_;
};

}  // namespace portolan
