#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/query_file.h"
#include "bench/serving.h"

namespace portolan::bench {
namespace {

constexpr double kMegabyte = 1e6;

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / kMegabyte; }

std::vector<std::string> MapWords(const std::string& query, const std::string& output, int epochs) {
  return {"--json",  "map",      query,
          "--atlas", kAtlas,     "--batch-key",
          "batch",   "--epochs", std::to_string(epochs),
          "-o",      output};
}

}  // namespace

void MeasureSurgeries(const Setting& setting) {
  constexpr int kSurgeries = 20;
  constexpr int kEpochs = 10;
  constexpr int64_t kCells = 2000;
  // A worker and a coordinator for each: none waits for another.
  const std::string all = std::to_string(kSurgeries);
  RunningServer server(setting, setting.atlases, {"--workers", all, "--mappings", all});
  const ProcessMemory before = server.process().Memory();
  server.process().ForgetPeak();
  const auto file = [&](int i, const char* end) {
    return setting.folder / ("surgery" + std::to_string(i) + end);
  };
  for (int i = 0; i < kSurgeries; ++i) {
    WriteQueryFile(file(i, ".h5ad"),
                   {.cells = kCells, .prefix = "surgery" + std::to_string(i) + "_"});
  }
  std::vector<std::unique_ptr<Child>> clients;
  for (int i = 0; i < kSurgeries; ++i) {
    clients.push_back(server.Start(MapWords(file(i, ".h5ad"), file(i, "_out.h5ad"), kEpochs)));
  }
  for (const auto& client : clients) server.ReportOf(client->Wait());
  const ProcessMemory after = server.process().Memory();
  Report& report = setting.report;
  report.Add({"memory/reference", 1, Megabytes(before.resident), "MB"});
  report.Add({"memory/20_surgeries_peak", kSurgeries, Megabytes(after.peak), "MB"});
  report.Add({"memory/per_surgery", kSurgeries,
              Megabytes(after.peak - before.resident) / kSurgeries, "MB"});
  report.Add({"memory/20_surgeries_after", kSurgeries, Megabytes(after.resident), "MB"});
}

void MeasureLargeQuery(const Setting& setting) {
  constexpr int kEpochs = 50;
  const int64_t cells = setting.long_runs ? 100'000 : 10'000;
  const std::string name = setting.long_runs ? "query_100k" : "query_10k";
  const std::string query = setting.folder / (name + ".h5ad");
  WriteQueryFile(query, {.cells = cells, .batches = 10});
  RunningServer server(setting, setting.atlases, {"--workers", "2"});
  const ProcessMemory before = server.process().Memory();
  server.process().ForgetPeak();
  Child::Ended ended;
  const double seconds = Seconds([&] {
    ended = server.Start(MapWords(query, setting.folder / (name + "_out.h5ad"), kEpochs))->Wait();
  });
  const nlohmann::json mapped = server.ReportOf(ended);
  const ProcessMemory after = server.process().Memory();
  Report& report = setting.report;
  report.Add({name + "/whole", 2, seconds, "s"});
  const auto stages = mapped.at("timings").get<std::map<std::string, double>>();
  for (const auto& [stage, took] : stages) report.Add({name + "/" + stage, 2, took, "s"});
  report.Add({name + "/server_before", 2, Megabytes(before.resident), "MB"});
  report.Add({name + "/server_peak", 2, Megabytes(after.peak), "MB"});
  report.Add({name + "/server_after", 2, Megabytes(after.resident), "MB"});
  report.Add({name + "/client_peak", 2, Megabytes(ended.peak), "MB"});
}

}  // namespace portolan::bench
