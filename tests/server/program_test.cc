#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "portolan/v1/atlas.grpc.pb.h"
#include "tests/paths.h"

namespace portolan::server {
namespace {

constexpr char kListening[] = "portolan-server listening on ";

/// The real program as a child process, its stdout and stderr in pipes.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments) {
    int out[2];
    int error[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(error, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error[1], STDERR_FILENO);
    std::vector<std::string> words = {PORTOLAN_SERVER_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(error[1]);
    out_ = out[0];
    error_ = error[0];
  }

  ~Program() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(out_);
    close(error_);
  }

  std::string ReadLine() {
    std::string line;
    char c;
    while (read(out_, &c, 1) == 1 && c != '\n') line += c;
    return line;
  }

  std::string ReadErrors() {
    std::string all;
    char buffer[4096];
    ssize_t count;
    while ((count = read(error_, buffer, sizeof(buffer))) > 0) all.append(buffer, count);
    return all;
  }

  void Signal(int number) { kill(pid_, number); }

  /// Exit status, or -1 if a signal ended the program.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = 0;
  int out_ = -1;
  int error_ = -1;
};

std::vector<std::string> Serve(const std::string& listen = "127.0.0.1:0") {
  return {"serve",     "--atlases", SourceDir() + "/demo/atlases", "--listen", listen,
          "--workers", "1"};
}

class SignalTest : public testing::TestWithParam<int> {};

TEST_P(SignalTest, EndsAServingProgramWithStatusZero) {
  Program program(Serve());
  const std::string line = program.ReadLine();
  ASSERT_THAT(line, testing::StartsWith(kListening));
  const std::string address = line.substr(sizeof(kListening) - 1);
  EXPECT_THAT(address, testing::Not(testing::EndsWith(":0")));

  const auto stub =
      v1::AtlasService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ListAtlasesResponse list;
  const grpc::Status status = stub->ListAtlases(&context, {}, &list);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(list.atlases_size(), 2);

  program.Signal(GetParam());
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_THAT(program.ReadErrors(), testing::HasSubstr(" INFO stopped"));
}

INSTANTIATE_TEST_SUITE_P(Signals, SignalTest, testing::Values(SIGTERM, SIGINT),
                         [](const auto& instance) {
                           return instance.param == SIGTERM ? "Term" : "Int";
                         });

TEST(ProgramTest, BadCommandLinesExitWithTwoAndSayWhy) {
  struct Case {
    std::vector<std::string> arguments;
    std::string says;
  };
  const Case cases[] = {
      {{}, "subcommand"},
      {{"serve"}, "--atlases"},
      {{"serve", "--atlases", ".", "--bogus"}, "--bogus"},
      {{"serve", "--atlases", ".", "--workers", "0"}, "--workers"},
      {{"serve", "--atlases", ".", "--mappings", "0"}, "--mappings"},
      {{"serve", "--atlases", ".", "--listen", "nonsense"}, "listen"},
      {{"serve", "--atlases", testing::TempDir() + "/there_is_no_such_directory"}, "atlases"},
  };
  for (const Case& bad : cases) {
    Program program(bad.arguments);
    const std::string errors = program.ReadErrors();
    EXPECT_EQ(program.Wait(), 2) << errors;
    EXPECT_THAT(errors, testing::HasSubstr(bad.says));
  }
}

TEST(ProgramTest, HelpExitsWithZero) {
  Program program({"serve", "--help"});
  EXPECT_EQ(program.Wait(), 0);
}

TEST(ProgramTest, APortInUseExitsWithOneAndSaysSo) {
  Program first(Serve());
  const std::string address = first.ReadLine().substr(sizeof(kListening) - 1);
  Program second(Serve(address));
  const std::string errors = second.ReadErrors();
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(errors, testing::HasSubstr("portolan-server: listen: cannot listen on " + address));
}

}  // namespace
}  // namespace portolan::server
