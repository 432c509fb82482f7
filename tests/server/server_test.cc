#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/base/field_error.h"
#include "tests/paths.h"
#include "tests/server/http.h"
#include "tests/server/running_server.h"

namespace portolan::server {
namespace {

using RunningServerTest = RunningServer;

/// A unary call of a method without a stub: the bytes of the response.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& request, std::string* response) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer buffer;
  grpc::Status status;
  call->Finish(&buffer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  grpc::Slice whole;
  if (status.ok() && buffer.DumpToSingleSlice(&whole).ok()) {
    response->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return status;
}

/// grpc.health.v1: field 1 of the request is the service, field 1 of the response the state.
grpc::Status Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service,
                    std::string* response) {
  std::string request;
  if (!service.empty()) {
    request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  }
  return CallRaw(channel, "/grpc.health.v1.Health/Check", request, response);
}

constexpr char kServing[] = "\x08\x01";

TEST_F(RunningServerTest, HealthAnswersForTheServerAndEachService) {
  for (const char* service : {"", "portolan.v1.AtlasService", "portolan.v1.UploadService",
                              "portolan.v1.MappingService", "portolan.v1.EmbeddingService"}) {
    std::string response;
    EXPECT_TRUE(Health(channel_, service, &response).ok()) << service;
    EXPECT_EQ(response, kServing) << service;
  }
  std::string response;
  EXPECT_EQ(Health(channel_, "portolan.v1.Nothing", &response).error_code(), grpc::NOT_FOUND);
}

TEST_F(RunningServerTest, ReflectionListsTheServices) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  // ServerReflectionRequest.list_services (7) = "*".
  const grpc::Slice slice("\x3a\x01*");
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::ByteBuffer buffer;
  call->Read(&buffer, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::Slice whole;
  ASSERT_TRUE(buffer.DumpToSingleSlice(&whole).ok());
  const std::string answer(reinterpret_cast<const char*>(whole.begin()), whole.size());
  for (const char* service :
       {"portolan.v1.AtlasService", "portolan.v1.UploadService", "portolan.v1.MappingService",
        "portolan.v1.EmbeddingService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(answer, testing::HasSubstr(service));
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
}

TEST_F(RunningServerTest, StoppingTwiceIsOnce) {
  NewUpload(1);
  server_->Stop();
  server_->Stop();
  v1::Upload upload;
  EXPECT_EQ(CreateUpload(UploadRequest(1), &upload).error_code(), grpc::UNAVAILABLE);
}

TEST_F(RunningServerTest, APortInUseIsUnavailable) {
  ServerOptions options = options_;
  options.listen = server_->address();
  const absl::Status status = Server::Start(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "listen");
}

TEST(ServerStartTest, BadOptionsAreErrorsThatNameThem) {
  ServerOptions options;
  options.atlases = SourceDir() + "/demo/atlases";
  options.listen = "somewhere";
  EXPECT_EQ(GetFieldViolation(Server::Start(options).status())->field, "listen");
  options.listen = "127.0.0.1:0";
  options.ops = "127.0.0.1";
  EXPECT_EQ(GetFieldViolation(Server::Start(options).status())->field, "ops");
  options.ops = "";
  options.data = "/proc/portolan";
  EXPECT_EQ(GetFieldViolation(Server::Start(options).status())->field, "data");
  options.data = "";
  options.atlases = testing::TempDir() + "/there_is_no_such_directory";
  const absl::Status status = Server::Start(options).status();
  EXPECT_TRUE(absl::IsNotFound(status) || absl::IsInvalidArgument(status)) << status;
}

class OpsServerTest : public RunningServer {
 protected:
  OpsServerTest() { options_.ops = "127.0.0.1:0"; }
};

TEST_F(OpsServerTest, CallsWorkWithTheMetricsOn) {
  EXPECT_GT(server_->ops_port(), 0);
  const std::string name = NewUpload(2);
  EXPECT_TRUE(WriteParts({Part(name, 0, SomeCells(0, 2, kGenes))}).ok());
  v1::Upload upload;
  EXPECT_EQ(GetUpload("uploads/none", &upload).error_code(), grpc::NOT_FOUND);
  const std::string metrics = Ask(server_->ops_port(), "GET /metrics HTTP/1.1\r\n\r\n");
  for (const char* line :
       {"portolan_rpcs_total{code=\"OK\",method=\"/portolan.v1.UploadService/WriteParts\"} 1",
        "portolan_rpcs_total{code=\"NOT_FOUND\",method=\"/portolan.v1.UploadService/GetUpload\"} 1",
        "portolan_queued_mappings 0"}) {
    EXPECT_THAT(metrics, testing::HasSubstr(line));
  }
}

}  // namespace
}  // namespace portolan::server
