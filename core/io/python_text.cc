#include "core/io/python_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace portolan {
namespace {

// Python writes 1e-4 <= |x| < 1e16 without an exponent.
constexpr int kSmallestPlain = -4;
constexpr int kLargestPlain = 16;

template <typename T>
std::string Spell(T value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific);
  const std::string text(buffer.data(), end.ptr);
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  // "-d.ddd" without sign and point.
  const std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  if (exponent < kSmallestPlain || exponent >= kLargestPlain) return text;
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  const std::string fraction = digits.substr(whole);
  return sign + digits.substr(0, whole) + "." + (fraction.empty() ? "0" : fraction);
}

}  // namespace

std::string PythonText(int64_t value) { return std::to_string(value); }
std::string PythonText(uint64_t value) { return std::to_string(value); }
std::string PythonText(bool value) { return value ? "True" : "False"; }
std::string PythonText(double value) { return Spell(value); }
std::string PythonText(float value) { return Spell(value); }

}  // namespace portolan
