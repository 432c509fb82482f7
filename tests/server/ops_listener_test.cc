#include "server/ops_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/server/http.h"

namespace portolan::server {
namespace {

TEST(OpsListenerTest, ServesTheMetricsOverASocket) {
  Metrics metrics;
  metrics.UploadedBytes(123);
  metrics.RpcEnded("/portolan.v1.AtlasService/GetAtlas", 5);
  metrics.MappingSucceeded(2.5, 1000);
  const auto ops = OpsListener::Start({"127.0.0.1", 0}, metrics);
  ASSERT_TRUE(ops.ok()) << ops.status();
  const std::string answer = Ask((*ops)->port(), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, testing::HasSubstr("portolan_upload_bytes_total 123"));
  EXPECT_THAT(answer, testing::HasSubstr("portolan_mapped_cells_total 1000"));
  EXPECT_THAT(answer, testing::HasSubstr("portolan_mapping_seconds_bucket{le=\"3\"} 1"));
  EXPECT_THAT(answer, testing::HasSubstr("method=\"/portolan.v1.AtlasService/GetAtlas\""));
  EXPECT_THAT(answer, testing::HasSubstr("code=\"NOT_FOUND\""));
}

TEST(OpsListenerTest, SurvivesBadRequests) {
  Metrics metrics;
  const auto ops = OpsListener::Start({"127.0.0.1", 0}, metrics);
  ASSERT_TRUE(ops.ok());
  const int port = (*ops)->port();
  close(Connect(port));
  EXPECT_THAT(Ask(port, "POST /metrics HTTP/1.1\r\n\r\n"), testing::StartsWith("HTTP/1.0 405"));
  EXPECT_THAT(Ask(port, "GET /etc/passwd HTTP/1.1\r\n\r\n"), testing::StartsWith("HTTP/1.0 404"));
  EXPECT_THAT(Ask(port, std::string(8192, 'x')), testing::StartsWith("HTTP/1.0 405"));
  EXPECT_THAT(Ask(port, "GET /metrics HTTP/1.1\r\n\r\n"), testing::StartsWith("HTTP/1.0 200"));
}

TEST(OpsListenerTest, APortInUseIsUnavailable) {
  Metrics metrics;
  const auto first = OpsListener::Start({"127.0.0.1", 0}, metrics);
  ASSERT_TRUE(first.ok());
  const auto second = OpsListener::Start({"127.0.0.1", (*first)->port()}, metrics);
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_TRUE(absl::IsUnavailable(OpsListener::Start({"no such host.", 0}, metrics).status()));
}

TEST(OpsResponseTest, IgnoresTheQueryAndTellsItsLength) {
  Metrics metrics;
  const std::string answer = OpsResponse("GET /metrics?x=1 HTTP/1.1\r\n", metrics);
  const size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_THAT(answer, testing::HasSubstr("Content-Length: " + std::to_string(answer.size() - body) +
                                         "\r\n"));
  EXPECT_THAT(OpsResponse("GET ", metrics), testing::StartsWith("HTTP/1.0 404"));
  EXPECT_THAT(OpsResponse("", metrics), testing::StartsWith("HTTP/1.0 405"));
}

}  // namespace
}  // namespace portolan::server
