// Speed of the parts that cost time, in cells or cell-epochs a second on one thread, with the rate
// of the matrix products below them measured in the same run.

#include <benchmark/benchmark.h>

#include <numeric>
#include <vector>

#include "bench/synthetic.h"
#include "core/model/model.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/column_init.h"
#include "core/surgery/training_session.h"

extern "C" void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                            const float* a, int lda, const float* b, int ldb, float beta, float* c,
                            int ldc);

namespace portolan {
namespace {

constexpr int64_t kCells = 1024;
constexpr int64_t kMinibatch = 128;
constexpr double kDensity = 0.1;

std::shared_ptr<const Model> MustBuild(const SyntheticShape& shape) {
  auto model = Model::Create(SyntheticModel(shape));
  if (!model.ok()) std::abort();
  return *std::move(model);
}

void Train(benchmark::State& state, const SyntheticShape& shape) {
  const auto model = MustBuild(shape);
  const TrainingCells cells = SyntheticCells(kCells, shape.genes, kDensity);
  CellNoise noise(0, cells);
  auto session = TrainingSession::Create(*model, cells, InitialColumns(*model, cells, 0),
                                         {.freeze_dropout = true}, {}, noise);
  if (!session.ok()) return state.SkipWithError("no session");
  std::vector<int64_t> rows(kMinibatch);
  std::iota(rows.begin(), rows.end(), 0);
  for (auto _ : state) {
    if (!(*session)->Step(rows, 0.1, 1e-3).ok()) return state.SkipWithError("no step");
    for (int64_t& row : rows) row = (row + kMinibatch) % kCells;
  }
  state.counters["cell_epochs"] = benchmark::Counter(
      static_cast<double>(state.iterations() * kMinibatch), benchmark::Counter::kIsRate);
}

void EncodeCells(benchmark::State& state, double density) {
  const SyntheticShape shape;
  const auto model = MustBuild(shape);
  const TrainingCells cells = SyntheticCells(kCells, shape.genes, density);
  const std::vector<int32_t> codes(kCells, 0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(Encode(*model, {cells.counts, codes}, CancelToken()));
  }
  state.counters["cells"] = benchmark::Counter(static_cast<double>(state.iterations() * kCells),
                                               benchmark::Counter::kIsRate);
}

void StartSession(benchmark::State& state) {
  const SyntheticShape shape;
  const auto model = MustBuild(shape);
  const TrainingCells cells = SyntheticCells(kCells, shape.genes, kDensity);
  const auto columns = InitialColumns(*model, cells, 0);
  CellNoise noise(0, cells);
  for (auto _ : state) {
    benchmark::DoNotOptimize(TrainingSession::Create(*model, cells, columns, {}, {}, noise));
  }
  state.counters["cells"] = benchmark::Counter(static_cast<double>(state.iterations() * kCells),
                                               benchmark::Counter::kIsRate);
}

// The decoder head's product, forward: (minibatch, hidden) x (hidden, genes).
void Sgemm(benchmark::State& state) {
  const SyntheticShape shape;
  const int m = static_cast<int>(kMinibatch);
  const int n = static_cast<int>(shape.genes);
  const int k = static_cast<int>(shape.hidden);
  std::vector<float> a(m * k, 0.5f);
  std::vector<float> b(k * n, 0.25f);
  std::vector<float> c(m * n);
  for (auto _ : state) {
    cblas_sgemm(101, 111, 111, m, n, k, 1.0f, a.data(), k, b.data(), n, 0.0f, c.data(), n);
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["flops"] = benchmark::Counter(
      2.0 * m * n * k * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

SyntheticShape Hlca() {
  SyntheticShape shape;
  shape.model_class = ModelClass::kScanvi;
  shape.deep = false;
  return shape;
}

SyntheticShape Zinb() {
  SyntheticShape shape;
  shape.likelihood = GeneLikelihood::kZinb;
  return shape;
}

BENCHMARK(Sgemm)->Name("sgemm");
BENCHMARK_CAPTURE(Train, scvi_nb, SyntheticShape{})->Name("train/scvi_nb_2000g")->UseRealTime();
BENCHMARK_CAPTURE(Train, scvi_zinb, Zinb())->Name("train/scvi_zinb_2000g")->UseRealTime();
BENCHMARK_CAPTURE(Train, scanvi_hlca, Hlca())->Name("train/scanvi_nb_29labels")->UseRealTime();
BENCHMARK(StartSession)->Name("first_layer_and_count_terms")->UseRealTime();
BENCHMARK_CAPTURE(EncodeCells, sparse, 0.05)->Name("encode/density_0.05")->UseRealTime();
BENCHMARK_CAPTURE(EncodeCells, denser, 0.15)->Name("encode/density_0.15")->UseRealTime();

}  // namespace
}  // namespace portolan

int main(int argc, char** argv) {
  // One thread below every benchmark, as in the server's workers.
  if (!portolan::TorchFence([] { return portolan::CheckBlas(); }).ok()) return 1;
  benchmark::AddCustomContext("instruction_set", portolan::InstructionSet());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
