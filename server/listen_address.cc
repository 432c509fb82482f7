#include "server/listen_address.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"

namespace portolan::server {

std::string ListenAddress::ToString() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view field, const std::string& text) {
  ListenAddress address;
  const size_t colon = text.rfind(':');
  bool fits = colon != std::string::npos &&
              absl::SimpleAtoi(text.substr(colon + 1), &address.port) && address.port >= 0 &&
              address.port <= 65535;
  if (fits) {
    address.host = text.substr(0, colon);
    const bool bracketed =
        address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']';
    if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
    fits = !address.host.empty() && address.host.find_first_of("[]") == std::string::npos &&
           (bracketed || address.host.find(':') == std::string::npos);
  }
  if (fits) return address;
  return InvalidField(field, absl::StrCat("\"", text, "\""),
                      "Give ADDR:PORT, for example 127.0.0.1:7443 or [::1]:7443.");
}

}  // namespace portolan::server
