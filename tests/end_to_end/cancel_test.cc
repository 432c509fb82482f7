#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "portolan/v1/mapping.grpc.pb.h"
#include "tests/end_to_end/programs.h"

namespace portolan::end_to_end {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A mapping of the demo that takes longer than anybody waits.
std::unique_ptr<Process> StartEndlessMapping(const RunningServer& server,
                                             const std::string& output) {
  return server.Start({"map", DemoQuery(), "--atlas", kDemoAtlas, "--batch-key", "batch",
                       "--epochs", "100000", "-o", output});
}

/// Reads the program's progress up to the first finished epoch.
void AwaitTraining(Process& program) {
  std::string seen;
  while (const auto line = program.ReadErrLine()) {
    if (line->find("  epoch ") != std::string::npos) return;
    seen += *line + "\n";
  }
  FAIL() << "the mapping never trained: " << seen;
}

/// The only mapping of the server once it is done.
v1::Mapping AwaitMapping(const RunningServer& server) {
  const auto stub = v1::MappingService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  v1::ListMappingsResponse mappings;
  grpc::ClientContext list_context;
  EXPECT_TRUE(stub->ListMappings(&list_context, {}, &mappings).ok());
  EXPECT_EQ(mappings.mappings_size(), 1);
  if (mappings.mappings_size() != 1) return {};
  v1::GetMappingRequest request;
  request.set_name(mappings.mappings(0).name());
  grpc::ClientContext watch_context;
  const auto changes = stub->WatchMapping(&watch_context, request);
  v1::Mapping mapping;
  while (changes->Read(&mapping)) {
  }
  EXPECT_TRUE(changes->Finish().ok());
  return mapping;
}

class CancelTest : public testing::TestWithParam<int> {};

TEST_P(CancelTest, ASignalToTheProgramCancelsItsMapping) {
  RunningServer server;
  const TemporaryDirectory out;
  const auto program = StartEndlessMapping(server, out / "x.h5ad");
  ASSERT_NO_FATAL_FAILURE(AwaitTraining(*program));
  program->Signal(GetParam());
  const Ended ended = program->Wait();
  EXPECT_EQ(ended.status, 128 + GetParam());
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr("interrupted; no result file is written"));
  EXPECT_THAT(out.Entries(), IsEmpty());

  EXPECT_EQ(AwaitMapping(server).state(), v1::Mapping::CANCELLED);
  EXPECT_EQ(server.RunJson({"versions", kDemoAtlas})["versions"].size(), 1u);
  server.Map(DemoQuery(), out / "next.h5ad", {"--epochs", "1"});
  EXPECT_EQ(server.Stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(Signals, CancelTest, testing::Values(SIGINT, SIGTERM),
                         [](const auto& test) { return test.param == SIGINT ? "INT" : "TERM"; });

// The program goes on trying, longer than a restart takes; whoever does not want to wait stops it.
TEST(StopTest, AServerStopsWhileAMappingRuns) {
  RunningServer server;
  const TemporaryDirectory out;
  const auto program = StartEndlessMapping(server, out / "x.h5ad");
  ASSERT_NO_FATAL_FAILURE(AwaitTraining(*program));
  EXPECT_EQ(server.Stop(), 0);
  program->Signal(SIGINT);
  const Ended ended = program->Wait();
  EXPECT_EQ(ended.status, 128 + SIGINT);
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(out.Entries(), IsEmpty());
}

TEST(StopTest, AnIdleServerStops) {
  RunningServer server;
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_THAT(server.Log(), HasSubstr("stopped"));
}

}  // namespace
}  // namespace portolan::end_to_end
