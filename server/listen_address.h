#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace portolan::server {

struct ListenAddress {
  std::string host;  ///< without brackets
  int port = 0;      ///< 0: a free one

  /// "HOST:PORT", an IPv6 host in brackets.
  std::string ToString() const;
};

/// Takes "ADDR:PORT" apart. Error: InvalidField(`field`).
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view field, const std::string& text);

}  // namespace portolan::server
