#include "core/matrix/count_check.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

constexpr double kLargest = 0x1p24;

// Adding and taking away the power of two from which on the type holds whole numbers only rounds a
// smaller number to a whole one; compilers turn this into vector code without any extension.
template <typename T>
constexpr T kWholeFrom = T{};
template <>
constexpr float kWholeFrom<float> = 0x1p23f;
template <>
constexpr double kWholeFrom<double> = 0x1p52;

template <typename T>
bool IsCount(T value) {
  const T rounded = (value + kWholeFrom<T>)-kWholeFrom<T>;
  return (value >= T{0}) & (value <= static_cast<T>(kLargest)) &
         ((rounded == value) | (value >= kWholeFrom<T>));
}

template <typename T>
bool AllCounts(std::span<const T> values) {
  int bad = 0;
  for (const T value : values) bad |= IsCount(value) ? 0 : 1;
  return bad == 0;
}

std::string Remedy(const std::string& field) {
  return absl::StrCat("Name the matrix that holds the raw counts: ",
                      field == "X" ? "layers/NAME (often layers/counts) or raw/X"
                                   : "X, layers/NAME or raw/X, other than " + field,
                      ".");
}

absl::Status Refuse(const std::string& field, const std::string& given_remedy, int64_t row,
                    double value) {
  const std::string remedy = given_remedy.empty() ? Remedy(field) : given_remedy;
  const std::string where = absl::StrFormat("the value %.9g in row %d", value, row);
  if (std::isnan(value) || std::isinf(value)) {
    return InvalidField(field, where + ", which is not a finite number",
                        "Counts are whole numbers from 0 up. " + remedy);
  }
  if (value < 0) {
    return InvalidField(
        field, where + ", which is negative, as after scaling or regressing out; not counts",
        remedy);
  }
  if (value != std::floor(value)) {
    return InvalidField(
        field,
        where + ", which is fractional, as after normalisation or a logarithm; not raw counts",
        remedy);
  }
  return InvalidField(field, where + ", which is above 16777216 (2^24), the largest exact count",
                      "Check that the matrix holds counts of single cells. " + remedy);
}

template <typename T>
absl::Status CheckValues(const std::string& field, const std::string& remedy, int64_t row,
                         std::span<const T> values) {
  if (AllCounts(values)) return absl::OkStatus();
  for (const T value : values) {
    if (!IsCount(value)) return Refuse(field, remedy, row, static_cast<double>(value));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CountCheck::Check(int64_t row, std::span<const float> values) const {
  return CheckValues(field_, remedy_, row, values);
}

absl::Status CountCheck::Check(int64_t row, std::span<const double> values) const {
  return CheckValues(field_, remedy_, row, values);
}

}  // namespace portolan
