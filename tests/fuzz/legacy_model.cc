// The three-file format. The input: the length of attr.pkl as two little-endian bytes, attr.pkl,
// one byte that is the length of var_names.csv, and this; model_params.pt is the rest.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/model_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  std::string_view rest = fuzz::TextOf(data, size);
  const auto take = [&rest](size_t bytes) {
    const std::string_view taken = rest.substr(0, std::min(bytes, rest.size()));
    rest.remove_prefix(taken.size());
    return taken;
  };
  const auto length = [&take](size_t bytes) {
    size_t value = 0, shift = 0;
    for (const char c : take(bytes)) {
      value |= static_cast<size_t>(static_cast<uint8_t>(c)) << shift;
      shift += 8;
    }
    return value;
  };
  const std::string_view attributes = take(length(2));
  const std::string_view names = take(length(1));
  fuzz::CheckModel(ParseLegacyModel(SharedBytes::CopyOf(rest), SharedBytes::CopyOf(attributes),
                                    SharedBytes::CopyOf(names), std::nullopt, fuzz::SmallLimits()));
  return 0;
}
