// Cell-epochs and cells a second of whole sessions, on one and on two workers, beside the rate of
// the float32 products below them (the floor) measured in the same run, and beside scvi-tools where
// its numbers are given. Prints a table and writes JSON:
//   [{name, workers, value, unit, peer, ratio_to_peer, floor, ratio_to_floor}]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "bench/synthetic.h"
#include "bench/synthetic_totalvi.h"
#include "core/archive/saved_model.h"
#include "core/io/query_reader.h"
#include "core/matrix/gene_alignment.h"
#include "core/model/model.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/column_init.h"
#include "core/surgery/training_session.h"
#include "nlohmann/json.hpp"

extern "C" void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                            const float* a, int lda, const float* b, int ldb, float beta, float* c,
                            int ldc);

namespace portolan {
namespace {

constexpr int64_t kCells = 2048;
constexpr int64_t kMinibatch = 128;
constexpr int kRepeats = 7;

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Median over repeats of the rate at which `workers` threads do `amount` each.
double Rate(int workers, double amount, const std::function<void(int)>& work) {
  std::vector<double> rates;
  for (int i = 0; i < kRepeats; ++i) {
    const double seconds = Seconds([&] {
      std::vector<std::thread> threads;
      for (int w = 0; w < workers; ++w) threads.emplace_back(work, w);
      for (std::thread& thread : threads) thread.join();
    });
    rates.push_back(amount * workers / seconds);
  }
  std::sort(rates.begin(), rates.end());
  return rates[kRepeats / 2];
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", std::string(value.status().message()).c_str());
  std::exit(1);
}

// The decoder head's product; flop a second.
double SgemmRate(int workers) {
  constexpr int kM = 128, kN = 2000, kK = 128, kLoops = 40;
  return Rate(workers, 2.0 * kM * kN * kK * kLoops, [](int) {
    std::vector<float> a(kM * kK, 0.5f);
    std::vector<float> b(kK * kN, 0.25f);
    std::vector<float> c(kM * kN);
    for (int i = 0; i < kLoops; ++i) {
      cblas_sgemm(101, 111, 111, kM, kN, kK, 1.0f, a.data(), kK, b.data(), kN, 0.0f, c.data(), kN);
    }
  });
}

// Multiply-adds times two of a cell-epoch's dense products, forward and by inputs.
double FlopsPerCell(const Architecture& a, ModelClass model_class) {
  const auto h = static_cast<double>(a.n_hidden);
  const auto d = static_cast<double>(a.n_latent);
  const auto deeper = static_cast<double>(a.n_layers - 1);
  const double heads =
      (a.gene_likelihood == GeneLikelihood::kZinb ? 2 : 1) * h * static_cast<double>(a.n_genes);
  double products = heads + 2 * deeper * h * h + d * h + 2 * d * h;
  if (model_class == ModelClass::kScanvi) {
    const auto labels = static_cast<double>(a.n_labels);
    products += deeper * h * h + d * h + labels * h;  // classifier
    products += labels * (2 * deeper * h * h + d * h + 4 * d * h) + d * h;
  }
  return 4 * products;
}

struct Row {
  std::string name;
  int workers = 1;
  double value = 0;
  std::string unit;
  double floor = 0;
};

class Report {
 public:
  /// `only`: rows whose name begins with it.
  Report(const std::string& peer_path, std::string only) : only_(std::move(only)) {
    if (!peer_path.empty()) std::ifstream(peer_path) >> peer_;
  }

  bool Wants(const std::string& name) const { return name.starts_with(only_); }

  void Add(const Row& row) {
    nlohmann::json item = {{"name", row.name},   {"workers", row.workers},
                           {"value", row.value}, {"unit", row.unit},
                           {"peer", nullptr},    {"ratio_to_peer", nullptr},
                           {"floor", nullptr},   {"ratio_to_floor", nullptr}};
    std::printf("%-28s %d  %14.0f %-16s", row.name.c_str(), row.workers, row.value,
                row.unit.c_str());
    const std::string peer_name = row.name.starts_with("encode") ? "encode" : row.name;
    if (peer_.contains(peer_name)) {
      const double peer = peer_[peer_name];
      item["peer"] = peer;
      item["ratio_to_peer"] = row.value / peer;
      std::printf(" %6.1fx scvi-tools", row.value / peer);
    }
    if (row.floor > 0) {
      item["floor"] = row.floor;
      item["ratio_to_floor"] = row.floor / row.value;
      std::printf("  %5.2f of the floor's time", row.floor / row.value);
    }
    std::printf("\n");
    std::fflush(stdout);
    items_.push_back(std::move(item));
  }

  void Write(const std::string& path) const { std::ofstream(path) << items_.dump(1) << "\n"; }

 private:
  std::string only_;
  nlohmann::json peer_ = nlohmann::json::object();
  nlohmann::json items_ = nlohmann::json::array();
};

// Sessions of their own on every worker, a few minibatches each.
double TrainRate(const Model& model, const std::vector<TrainingCells>& cells, int workers) {
  constexpr int kSteps = 24;
  std::vector<std::unique_ptr<CellNoise>> noise;
  std::vector<std::unique_ptr<TrainingSession>> sessions;
  for (int w = 0; w < workers; ++w) {
    const TrainingCells& own = cells[w % cells.size()];
    noise.push_back(std::make_unique<CellNoise>(0, own));
    sessions.push_back(Must(TrainingSession::Create(model, own, InitialColumns(model, own, 0),
                                                    {.freeze_dropout = true}, {}, *noise.back())));
  }
  return Rate(workers, kSteps * kMinibatch, [&](int w) {
    const int64_t n = cells[w % cells.size()].cells();
    std::vector<int64_t> rows(kMinibatch);
    for (int step = 0; step < kSteps; ++step) {
      for (int64_t i = 0; i < kMinibatch; ++i) rows[i] = (step * kMinibatch + i) % n;
      Must(sessions[w]->Step(rows, 0.1, 1e-3));
    }
  });
}

double EncodeRate(const Model& model, const TrainingCells& cells, int workers) {
  const std::vector<int32_t> codes(cells.cells(), 0);
  return Rate(workers, static_cast<double>(cells.cells()), [&](int) {
    Must(Encode(model, CellInputs{cells.counts, codes}, CancelToken()));
  });
}

std::vector<TrainingCells> KangCells(const std::string& data, const Model& model) {
  const auto reader = Must(OpenQuery(data + "/counts/split_kang_query_4donors.h5ad"));
  const auto genes = Must(reader->GeneNames({}));
  const auto alignment =
      Must(GeneAlignment::Create(model.description().genes, genes, reader->cell_names()));
  TrainingCells cells;
  cells.counts.cols = alignment.reference_genes();
  const absl::Status read =
      reader->ReadCounts({}, alignment, 1024, CancelToken(), [&](int64_t, CsrMatrix block) {
        cells.counts.Append(block);
        return absl::OkStatus();
      });
  if (!read.ok()) std::exit(1);
  cells.batches = {"new batch"};
  cells.batch_codes.assign(cells.counts.rows(), 0);
  for (int64_t i = 0; i < cells.counts.rows(); ++i) cells.cell_ids.push_back(i);
  return {cells};
}

void Synthetic(const std::string& name, const SyntheticShape& shape,
               const std::map<int, double>& sgemm, Report& report) {
  if (!report.Wants("train/" + name)) return;
  const SavedModel saved = SyntheticModel(shape);
  const auto model = Must(Model::Create(saved));
  const std::vector<TrainingCells> cells = {SyntheticCells(kCells, shape.genes, 0.1)};
  const double flops = FlopsPerCell(saved.description.architecture, shape.model_class);
  for (const int workers : {1, 2}) {
    report.Add({"train/" + name, workers, TrainRate(*model, cells, workers), "cell-epochs/s",
                sgemm.at(workers) / flops});
  }
}

void Totalvi(const std::map<int, double>& sgemm, Report& report) {
  const auto model = Must(Model::Create(SyntheticTotalvi()));
  const std::vector<TrainingCells> cells = {SyntheticTotalviCells(kCells)};
  const double flops = TotalviFlopsPerCell(model->description().architecture);
  for (const int workers : {1, 2}) {
    report.Add({"train/totalvi", workers, TrainRate(*model, cells, workers), "cell-epochs/s",
                sgemm.at(workers) / flops});
  }
}

void Encoding(Report& report) {
  if (!report.Wants("encode")) return;
  const SyntheticShape shape;
  const auto model = Must(Model::Create(SyntheticModel(shape)));
  for (const double density : {0.05, 0.1, 0.15}) {
    const TrainingCells cells = SyntheticCells(kCells, shape.genes, density);
    for (const int workers : {1, 2}) {
      report.Add({"encode/density_" + std::to_string(density).substr(0, 4), workers,
                  EncodeRate(*model, cells, workers), "cells/s"});
    }
  }
}

void Kang(const std::string& data, const std::map<int, double>& sgemm, Report& report) {
  for (const char* name : {"kang_scvi", "kang_scanvi"}) {
    if (!report.Wants(std::string("train/") + name)) continue;
    auto saved = ReadSavedModel(data + "/models/" + name);
    if (!saved.ok()) continue;
    const auto model = Must(Model::Create(*saved));
    const std::vector<TrainingCells> cells = KangCells(data, *model);
    const double flops =
        FlopsPerCell(model->description().architecture, model->description().model_class);
    for (const int workers : {1, 2}) {
      report.Add({std::string("train/") + name, workers, TrainRate(*model, cells, workers),
                  "cell-epochs/s", sgemm.at(workers) / flops});
    }
  }
}

void Run(const std::string& out, const std::string& peer, const std::string& data,
         const std::string& only) {
  Report report(peer, only);
  std::printf("%s\n", InstructionSet().c_str());
  std::map<int, double> sgemm;
  for (const int workers : {1, 2}) {
    sgemm[workers] = SgemmRate(workers);
    report.Add({"sgemm", workers, sgemm[workers], "flop/s"});
  }
  SyntheticShape zinb;
  zinb.likelihood = GeneLikelihood::kZinb;
  SyntheticShape hlca;
  hlca.model_class = ModelClass::kScanvi;
  hlca.deep = false;
  Synthetic("scvi_nb", SyntheticShape{}, sgemm, report);
  Synthetic("scvi_zinb", zinb, sgemm, report);
  Synthetic("scanvi_hlca", hlca, sgemm, report);
  Totalvi(sgemm, report);
  Kang(data, sgemm, report);
  Encoding(report);
  if (!out.empty()) report.Write(out);
}

}  // namespace
}  // namespace portolan

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  // One thread below every worker, as in the server.
  if (!portolan::TorchFence([] { return portolan::CheckBlas(); }).ok()) return 1;
  const char* data = std::getenv("PORTOLAN_TEST_DATA");
  portolan::Run(options["--out"], options["--peer"], data != nullptr ? data : "../shared/data",
                options["--only"]);
  return 0;
}
