// What a user of the programs sees: a real portolan-server and the real client over loopback.
//   portolan-serving [--out FILE] [--only start,surgeries,query,transfer] [--long]

#include "bench/serving.h"

#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "bench/synthetic.h"
#include "core/archive/model_writer.h"

namespace portolan::bench {
namespace {

constexpr char kListening[] = "portolan-server listening on ";

std::string WriteAtlas(const TemporaryFolder& folder) {
  const SavedModel model = SyntheticModel(kHlcaShape);
  const std::string atlases = folder / "atlases";
  std::filesystem::create_directories(atlases + "/" + kAtlas);
  std::ofstream(atlases + "/" + kAtlas + "/model.pt", std::ios::binary)
      << Must(WriteModel(model.description, model.tensors));
  return atlases;
}

void Run(const std::string& out, const std::vector<std::string>& only, bool long_runs) {
  const TemporaryFolder folder;
  Report report(out, "");
  const Setting setting{folder, WriteAtlas(folder), report, long_runs};
  // Transfers last: the kernel counts what this process holds as the peak of what it starts.
  const std::pair<const char*, void (*)(const Setting&)> measurements[] = {
      {"start", MeasureStart},
      {"surgeries", MeasureSurgeries},
      {"query", MeasureLargeQuery},
      {"transfer", MeasureTransfer}};
  for (const auto& [name, measure] : measurements) {
    if (only.empty() || std::find(only.begin(), only.end(), name) != only.end()) measure(setting);
  }
}

}  // namespace

RunningServer::RunningServer(const Setting& setting, const std::string& atlases,
                             std::vector<std::string> options)
    : log_(setting.folder / "server.log") {
  std::vector<std::string> words = {
      PORTOLAN_SERVER_PROGRAM, "serve", "--atlases", atlases, "--listen", "127.0.0.1:0"};
  words.insert(words.end(), options.begin(), options.end());
  process_ = Child::Start(std::move(words), log_);
  const std::string line = process_->ReadLine();
  if (!line.starts_with(kListening)) FailWithLog();
  address_ = line.substr(sizeof(kListening) - 1);
}

std::unique_ptr<Child> RunningServer::Start(std::vector<std::string> words) const {
  const std::vector<std::string> first = {PORTOLAN_PROGRAM, "--server", address_};
  words.insert(words.begin(), first.begin(), first.end());
  return Child::Start(std::move(words), log_);
}

nlohmann::json RunningServer::ReportOf(const Child::Ended& ended) const {
  if (ended.status != 0) FailWithLog();
  return nlohmann::json::parse(ended.out);
}

void RunningServer::FailWithLog() const {
  std::ifstream log(log_);
  Fail(std::string(std::istreambuf_iterator<char>(log), {}));
}

void RunningServer::Stop() {
  if (process_ == nullptr) return;
  process_->Signal(SIGTERM);
  process_->Wait();
  process_.reset();
}

}  // namespace portolan::bench

int main(int argc, char** argv) {
  CLI::App app("Measures portolan-server and portolan over loopback.", "portolan-serving");
  std::string out;
  std::vector<std::string> only;
  bool long_runs = false;
  app.add_option("--out", out, "File of the benchmarks, to which rows are added");
  app.add_option("--only", only, "start, surgeries, query, transfer (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember({"start", "surgeries", "query", "transfer"}));
  app.add_flag("--long", long_runs, "Also what takes minutes: a query of 100,000 cells");
  CLI11_PARSE(app, argc, argv);
  return portolan::bench::Guarded([&] { portolan::bench::Run(out, only, long_runs); });
}
