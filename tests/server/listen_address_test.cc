#include "server/listen_address.h"

#include <gtest/gtest.h>

#include "core/base/field_error.h"

namespace portolan::server {
namespace {

TEST(ListenAddressTest, TakesHostAndPortApart) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress("listen", "127.0.0.1:7443");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->host, "127.0.0.1");
  EXPECT_EQ(address->port, 7443);
  EXPECT_EQ(address->ToString(), "127.0.0.1:7443");
  EXPECT_EQ(ParseListenAddress("listen", "localhost:0")->port, 0);
}

TEST(ListenAddressTest, TakesIpv6InBrackets) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress("listen", "[::1]:80");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->ToString(), "[::1]:80");
}

TEST(ListenAddressTest, RefusesEverythingElse) {
  for (const char* text : {"", ":", "7443", "host", "host:", ":80", "host:-1", "host:65536",
                           "host:80x", "::1:80", "[]:80", "[::1:80", "h[]:80"}) {
    const absl::StatusOr<ListenAddress> address = ParseListenAddress("ops", text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(GetFieldViolation(address.status())->field, "ops");
  }
}

}  // namespace
}  // namespace portolan::server
