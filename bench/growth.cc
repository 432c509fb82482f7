#include "bench/growth.h"

#include <cstdio>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/synthetic.h"
#include "core/model/model.h"
#include "core/surgery/trainer.h"

namespace portolan::bench {
namespace {

constexpr int kEpochs = 3;
constexpr int kRepeats = 3;
constexpr double kDensity = 0.1;

struct Query {
  int64_t cells = 4096;
  int64_t batches = 1;
  bool joint = false;  ///< all batches in one run instead of a run each
};

// Runs over `query.cells` cells altogether.
std::vector<TrainingCells> RunsOf(const Query& query, int64_t genes) {
  const int64_t runs = query.joint ? 1 : query.batches;
  std::vector<TrainingCells> all;
  for (int64_t run = 0; run < runs; ++run) {
    TrainingCells cells = SyntheticCells(query.cells / runs, genes, kDensity);
    if (query.joint) cells.batches.clear();
    for (int64_t b = 0; query.joint && b < query.batches; ++b) {
      cells.batches.push_back("new batch " + std::to_string(b));
    }
    for (int64_t i = 0; query.joint && i < cells.cells(); ++i) {
      cells.batch_codes[i] = static_cast<int32_t>(i * query.batches / cells.cells());
    }
    all.push_back(std::move(cells));
  }
  return all;
}

// One line: a worker alone, first layers and columns included.
void Line(const std::string& what, const std::string& value, const SyntheticShape& shape,
          const Query& query) {
  const auto model = Must(Model::Create(SyntheticModel(shape)));
  const std::vector<TrainingCells> runs = RunsOf(query, shape.genes);
  TrainOptions options = PresetOptions(Preset::kScvi, query.cells);
  options.max_epochs = kEpochs;
  std::vector<double> seconds;
  std::vector<double> encode;
  for (int i = 0; i < kRepeats; ++i) {
    seconds.push_back(Seconds([&] {
      for (const TrainingCells& cells : runs) Must(Train(*model, cells, options, {}));
    }));
    encode.push_back(Seconds([&] {
      for (const TrainingCells& cells : runs) Must(Encode(*model, cells.inputs(), CancelToken()));
    }));
  }
  int64_t cells = 0;
  for (const TrainingCells& run : runs) cells += run.cells();
  const auto count = static_cast<double>(cells);
  std::printf("| %s | %s | %.2f | %.1f | %.3f | %.1f |\n", what.c_str(), value.c_str(),
              Median(seconds), 1e6 * Median(seconds) / count / kEpochs, Median(encode),
              1e6 * Median(encode) / count);
  std::fflush(stdout);
}

}  // namespace

void PrintGrowth() {
  std::printf("| what | | train, s | us a cell-epoch | encode, s | us a cell |\n");
  std::printf("|---|---:|---:|---:|---:|---:|\n");
  for (const int64_t cells : {1024, 4096, 16384}) {
    Line("cells", std::to_string(cells), {}, {.cells = cells});
  }
  for (const int64_t genes : {1000, 2000, 4000, 8000}) {
    Line("genes", std::to_string(genes), {.genes = genes}, {});
  }
  for (const int64_t batches : {1, 2, 10}) {
    Line("batches, apart", std::to_string(batches), {}, {.batches = batches});
  }
  for (const int64_t batches : {2, 10}) {
    Line("batches, joint", std::to_string(batches), {}, {.batches = batches, .joint = true});
  }
  for (const int64_t labels : {5, 29, 100}) {
    SyntheticShape shape = kHlcaShape;
    shape.labels = labels;
    Line("labels", std::to_string(labels), shape, {});
  }
}

}  // namespace portolan::bench
