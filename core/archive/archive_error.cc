#include "core/archive/archive_error.h"

namespace portolan {

std::string Quoted(std::string_view text) {
  constexpr size_t kMost = 80;
  std::string quoted = "'";
  for (const char c : text.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    quoted.push_back(byte < 0x20 || byte >= 0x7f ? '?' : c);
  }
  quoted += text.size() > kMost ? "...'" : "'";
  return quoted;
}

}  // namespace portolan
