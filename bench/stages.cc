// Where the time goes, by google-benchmark: the parts of a training step of SCVI (NB) and of SCANVI
// as large as the HLCA's, and what comes before it (opening a model, the cached first layer,
// reading a file). One thread.
//   portolan-stages [--out FILE] [--peer FILE] [--query H5AD] [--benchmark_...]
//   portolan-stages --write-query H5AD     only makes the file to read, for the peer to read, too

#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/query_file.h"
#include "bench/report.h"
#include "bench/rounds.h"
#include "bench/step_parts.h"
#include "bench/synthetic.h"
#include "bench/training.h"
#include "core/archive/model_writer.h"
#include "core/atlas/atlas.h"
#include "core/io/query_reader.h"
#include "core/matrix/gene_alignment.h"
#include "core/model/torch_runtime.h"

namespace portolan::bench {
namespace {

constexpr int64_t kCells = 2048;
constexpr int kRepetitions = 5;
const QueryFileShape kQueryFile = {.cells = 20'000, .batches = 10};

/// Medians of google-benchmark's repetitions, as rows. A benchmark's label is its unit; the
/// counter "per" says how many of it an iteration does.
class Rows : public benchmark::ConsoleReporter {
 public:
  Rows(Report& report, const std::map<std::string, double>& floors)
      : report_(report), floors_(floors) {}

  bool ReportContext(const Context&) override { return true; }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) Fail(run.benchmark_name() + ": " + run.error_message);
      if (run.run_type != Run::RT_Aggregate || run.aggregate_name != "median") continue;
      const std::string name = run.run_name.function_name;
      const double seconds = run.GetAdjustedRealTime() / 1e9;
      const double per = run.counters.at("per");
      const std::string& unit = run.report_label;
      const double value = unit == "ms"        ? 1e3 * seconds
                           : unit == "ns/cell" ? 1e9 * seconds / per
                                               : per / seconds;
      const auto floor = floors_.find(name);
      report_.Add({.name = name,
                   .value = value,
                   .unit = unit,
                   .floor = floor == floors_.end() ? 0 : floor->second});
    }
  }

 private:
  Report& report_;
  const std::map<std::string, double>& floors_;
};

void Register(const std::string& name, const std::string& unit, double per,
              const std::function<void()>& prepare, const std::function<void()>& work) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 for (auto _ : state) {
                                   if (prepare) prepare();
                                   state.SetIterationTime(Seconds(work));
                                 }
                                 state.SetLabel(unit);
                                 state.counters["per"] = per;
                               })
      ->UseManualTime()
      ->MinTime(0.1)
      ->Repetitions(kRepetitions)
      ->ReportAggregatesOnly();
}

/// What the benchmarks look at, kept until they have run.
struct Subject {
  Subject(const SyntheticShape& shape, double density)
      : model(Must(Model::Create(SyntheticModel(shape)))),
        cells(SyntheticCells(kCells, shape.genes, density)),
        training(*model, cells),
        parts(*model, cells) {}

  std::shared_ptr<const Model> model;
  TrainingCells cells;
  Training training;
  StepParts parts;
};

void RegisterStep(const std::string& model, Subject& subject, double sgemm,
                  std::map<std::string, double>& floors) {
  const std::string prefix = "step/" + model + "/";
  for (const StepPart& part : subject.parts.Parts()) {
    Register(prefix + part.name, "ns/cell", StepParts::kRows, part.prepare, part.work);
    if (part.flops > 0) floors[prefix + part.name] = 1e9 * part.flops / sgemm;
  }
  Register(prefix + "whole", "ns/cell", kMinibatch, {}, [&] { subject.training.Steps(1); });
  floors[prefix + "whole"] = 1e9 * FlopsPerCell(*subject.model) / sgemm;
}

void RegisterReading(const std::string& path) {
  const auto read = [path] {
    const auto reader = Must(OpenQuery(path));
    const auto genes = Must(reader->GeneNames({}));
    const auto alignment = Must(GeneAlignment::Create(genes, genes, reader->cell_names()));
    Must(reader->ReadObs("batch"));
    int64_t stored = 0;
    Must(reader->ReadCounts({}, alignment, 1024, CancelToken(), [&](int64_t, const CsrMatrix& b) {
      stored += b.nonzeros();
      return absl::OkStatus();
    }));
    benchmark::DoNotOptimize(stored);
  };
  const auto cells = static_cast<double>(Must(OpenQuery(path))->cell_names().size());
  Register("read/h5ad", "cells/s", cells, {}, read);
}

void Run(const std::string& out, const std::string& peer, std::string query) {
  const TemporaryFolder folder;
  if (query.empty()) {
    query = folder / "query.h5ad";
    WriteQueryFile(query, kQueryFile);
  }
  const SavedModel saved = SyntheticModel(kHlcaShape);
  const std::string hlca = folder / "hlca";
  std::filesystem::create_directory(hlca);
  std::ofstream(hlca + "/model.pt", std::ios::binary)
      << Must(WriteModel(saved.description, saved.tensors));

  std::vector<double> sgemm;
  for (int i = 0; i < kRepetitions; ++i) sgemm.push_back(SgemmRate(1));
  std::map<std::string, double> floors;
  Subject scvi({}, 0.1);
  Subject scanvi(kHlcaShape, 0.1);
  RegisterStep("scvi_nb", scvi, Median(sgemm), floors);
  RegisterStep("scanvi_hlca", scanvi, Median(sgemm), floors);
  Register("first_layer_cache", "cells/s", kCells, {},
           [&] { benchmark::DoNotOptimize(Training(*scvi.model, scvi.cells)); });
  Register("open/hlca_model", "ms", 1, {},
           [&] { benchmark::DoNotOptimize(Must(Atlas::Open("hlca", hlca, ""))); });
  RegisterReading(query);
  Report report(out, peer);
  Rows rows(report, floors);
  benchmark::RunSpecifiedBenchmarks(&rows);
}

}  // namespace
}  // namespace portolan::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  CLI::App app("Times the stages of a mapping.", "portolan-stages");
  std::string out;
  std::string peer;
  std::string query;
  app.add_option("--out", out, "File of the benchmarks, to which rows are added");
  app.add_option("--peer", peer, "What bench/peer/peer.py wrote");
  app.add_option("--query", query, "The h5ad file to read (default: one made for it)");
  std::string to_write;
  app.add_option("--write-query", to_write, "Write the file that --query reads, and end");
  CLI11_PARSE(app, argc, argv);
  return portolan::bench::Guarded([&] {
    if (!to_write.empty())
      return portolan::bench::WriteQueryFile(to_write, portolan::bench::kQueryFile);
    // One thread below, as in the server's workers.
    portolan::bench::Must(portolan::TorchFence([] { return portolan::CheckBlas(); }));
    portolan::bench::Run(out, peer, query);
  });
}
