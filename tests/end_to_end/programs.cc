#include "tests/end_to_end/programs.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/paths.h"

namespace portolan::end_to_end {
namespace {

constexpr char kListening[] = "portolan-server listening on ";

std::vector<std::string> Joined(std::vector<std::string> words,
                                const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

std::string DemoAtlases() { return SourceDir() + "/demo/atlases"; }
std::string DemoQuery() { return SourceDir() + "/demo/data/query.h5ad"; }

std::string TestData(const std::string& relative_path) {
  const char* folder = getenv("PORTOLAN_TEST_DATA");
  std::string path = folder != nullptr ? folder : SourceDir() + "/../shared/data";
  path += "/" + relative_path;
  return std::filesystem::exists(path) ? path : "";
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = testing::TempDir() + "/portolan_end_to_end_XXXXXX";
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> TemporaryDirectory::Entries() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

RunningServer::RunningServer(const ServerArguments& arguments) {
  std::vector<std::string> words = {PORTOLAN_SERVER_PROGRAM,
                                    "serve",
                                    "--atlases",
                                    arguments.atlases,
                                    "--listen",
                                    "127.0.0.1:0",
                                    "--workers",
                                    std::to_string(arguments.workers)};
  if (!arguments.data.empty()) words = Joined(std::move(words), {"--data", arguments.data});
  process_ = Process::Start(std::move(words), directory_ / "log");
  const std::string line = process_->ReadOutLine().value_or("");
  EXPECT_THAT(line, testing::StartsWith(kListening)) << Log();
  if (line.starts_with(kListening)) address_ = line.substr(sizeof(kListening) - 1);
}

std::unique_ptr<Process> RunningServer::Start(const std::vector<std::string>& words) const {
  return Process::Start(Joined({PORTOLAN_PROGRAM, "--server", address_}, words));
}

Ended RunningServer::Run(const std::vector<std::string>& words) const {
  return Start(words)->Wait();
}

nlohmann::json RunningServer::RunJson(const std::vector<std::string>& words) const {
  const Ended ended = Run(Joined({"--json"}, words));
  EXPECT_EQ(ended.status, 0) << ended.err << Log();
  EXPECT_EQ(ended.err, "");
  nlohmann::json json = nlohmann::json::parse(ended.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << ended.out;
  // So that what a test looks up in it is absent, not an error of its own.
  return json.is_object() ? json : nlohmann::json::object();
}

nlohmann::json RunningServer::Map(const std::string& query, const std::string& output,
                                  const std::vector<std::string>& more) const {
  return RunJson(
      Joined({"map", query, "--atlas", kDemoAtlas, "--batch-key", "batch", "-o", output}, more));
}

nlohmann::json RunningServer::Embed(const std::string& query, const std::string& output,
                                    const std::vector<std::string>& more) const {
  return RunJson(Joined({"embed", query, "--atlas", kDemoAtlas, "-o", output}, more));
}

int RunningServer::Stop() {
  process_->Signal(SIGTERM);
  return process_->Wait().status;
}

std::string RunningServer::Log() const {
  std::ifstream in(directory_ / "log");
  return {std::istreambuf_iterator<char>(in), {}};
}

Ended RunPortolan(const std::vector<std::string>& words) {
  return Process::Start(Joined({PORTOLAN_PROGRAM}, words))->Wait();
}

void ExpectRefused(const Ended& ended, const std::string& field) {
  EXPECT_EQ(ended.status, 1) << ended.err;
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, testing::HasSubstr("error: " + field + ": "));
  EXPECT_THAT(ended.err, testing::ContainsRegex("\n  found: .+\n  remedy: .+\n"));
}

}  // namespace portolan::end_to_end
