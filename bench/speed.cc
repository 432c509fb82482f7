// Cell-epochs and cells a second of whole sessions, on one and on two workers, beside the rate of
// the float32 products below them (the floor) measured in the same run, and beside scvi-tools where
// its numbers are given.
//   portolan-speed [--out FILE] [--peer FILE] [--only PREFIX]
//                                 prints a table and adds rows to FILE (report.h)
//   portolan-speed --growth yes   how time grows with the query and the model

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/growth.h"
#include "bench/measure.h"
#include "bench/report.h"
#include "bench/rounds.h"
#include "bench/synthetic.h"
#include "bench/synthetic_totalvi.h"
#include "bench/training.h"
#include "core/archive/saved_model.h"
#include "core/io/query_reader.h"
#include "core/kernels/bf16_matrix.h"
#include "core/matrix/gene_alignment.h"
#include "core/model/model.h"
#include "core/model/torch_runtime.h"

namespace portolan::bench {
namespace {

constexpr int64_t kCells = 2048;
constexpr int kRounds = 5;

/// What the measurements look at, kept until they are over.
struct Subjects {
  std::vector<std::shared_ptr<const Model>> models;
  std::vector<std::unique_ptr<TrainingCells>> cells;
  std::vector<std::unique_ptr<Training>> trainings;

  const Model& Keep(std::shared_ptr<const Model> model) {
    return *models.emplace_back(std::move(model));
  }
  const TrainingCells& Keep(TrainingCells own) {
    return *cells.emplace_back(std::make_unique<TrainingCells>(std::move(own)));
  }
};

// Sessions of their own on every worker, a few minibatches each.
void AddTraining(const std::string& name, const Model& model, const TrainingCells& cells,
                 Subjects& subjects, Rounds& rounds, Precision precision = Precision::kFloat32) {
  constexpr int kSteps = 24;
  for (const int workers : {1, 2}) {
    std::vector<Training*> own;
    for (int w = 0; w < workers; ++w) {
      own.push_back(
          subjects.trainings.emplace_back(std::make_unique<Training>(model, cells, precision))
              .get());
    }
    rounds.Add({.name = "train/" + name,
                .workers = workers,
                .amount = kSteps * kMinibatch,
                .unit = "cell-epochs/s",
                .work = [own](int w) { own[w]->Steps(kSteps); },
                .flops = FlopsPerCell(model)});
  }
}

void AddSynthetic(const std::string& name, const SyntheticShape& shape, Subjects& subjects,
                  Rounds& rounds) {
  if (!rounds.Wants("train/" + name)) return;
  const Model& model = subjects.Keep(Must(Model::Create(SyntheticModel(shape))));
  const TrainingCells& cells = subjects.Keep(SyntheticCells(kCells, shape.genes, 0.1));
  AddTraining(name, model, cells, subjects, rounds);
  if (Bf16Matrix::Supported()) {
    AddTraining(name + "/bf16", model, cells, subjects, rounds, Precision::kBf16);
  }
}

void AddTotalvi(Subjects& subjects, Rounds& rounds) {
  if (!rounds.Wants("train/totalvi")) return;
  const Model& model = subjects.Keep(Must(Model::Create(SyntheticTotalvi())));
  AddTraining("totalvi", model, subjects.Keep(SyntheticTotalviCells(kCells)), subjects, rounds);
}

TrainingCells KangCells(const std::string& data, const Model& model) {
  const auto reader = Must(OpenQuery(data + "/counts/split_kang_query_4donors.h5ad"));
  const auto genes = Must(reader->GeneNames({}));
  const auto alignment =
      Must(GeneAlignment::Create(model.description().genes, genes, reader->cell_names()));
  TrainingCells cells;
  cells.counts.cols = alignment.reference_genes();
  Must(reader->ReadCounts({}, alignment, 1024, CancelToken(), [&](int64_t, CsrMatrix block) {
    cells.counts.Append(block);
    return absl::OkStatus();
  }));
  cells.batches = {"new batch"};
  cells.batch_codes.assign(cells.counts.rows(), 0);
  for (int64_t i = 0; i < cells.counts.rows(); ++i) cells.cell_ids.push_back(i);
  return cells;
}

void AddKang(const std::string& data, Subjects& subjects, Rounds& rounds) {
  for (const std::string name : {"kang_scvi", "kang_scanvi"}) {
    if (!rounds.Wants("train/" + name)) continue;
    auto saved = ReadSavedModel(data + "/models/" + name);
    if (!saved.ok()) continue;
    const Model& model = subjects.Keep(Must(Model::Create(*saved)));
    AddTraining(name, model, subjects.Keep(KangCells(data, model)), subjects, rounds);
  }
}

void AddEncoding(Subjects& subjects, Rounds& rounds) {
  const SyntheticShape shape;
  const Model& model = subjects.Keep(Must(Model::Create(SyntheticModel(shape))));
  for (const double density : {0.05, 0.1, 0.15}) {
    const std::string name = "encode/density_" + std::to_string(density).substr(0, 4);
    if (!rounds.Wants(name)) continue;
    const TrainingCells& cells = subjects.Keep(SyntheticCells(kCells, shape.genes, density));
    for (const int workers : {1, 2}) {
      rounds.Add({.name = name,
                  .workers = workers,
                  .amount = static_cast<double>(kCells),
                  .unit = "cells/s",
                  .work = [&](int) { Must(Encode(model, cells.inputs(), CancelToken())); },
                  .peer = "encode"});
    }
  }
}

void Run(const std::string& out, const std::string& peer, const std::string& data,
         const std::string& only) {
  Report report(out, peer);
  SyntheticShape zinb;
  zinb.likelihood = GeneLikelihood::kZinb;
  SyntheticShape hlca;
  hlca.model_class = ModelClass::kScanvi;
  hlca.deep = false;
  Subjects subjects;
  Rounds rounds(only);
  AddSynthetic("scvi_nb", SyntheticShape{}, subjects, rounds);
  AddSynthetic("scvi_zinb", zinb, subjects, rounds);
  AddSynthetic("scanvi_hlca", hlca, subjects, rounds);
  AddTotalvi(subjects, rounds);
  AddKang(data, subjects, rounds);
  AddEncoding(subjects, rounds);
  rounds.Run(kRounds, report);
}

}  // namespace
}  // namespace portolan::bench

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  const char* data = std::getenv("PORTOLAN_TEST_DATA");
  return portolan::bench::Guarded([&] {
    // One thread below every worker, as in the server.
    portolan::bench::Must(portolan::TorchFence([] { return portolan::CheckBlas(); }));
    std::printf("%s\n", portolan::InstructionSet().c_str());
    if (options.contains("--growth")) return portolan::bench::PrintGrowth();
    portolan::bench::Run(options["--out"], options["--peer"],
                         data != nullptr ? data : "../shared/data", options["--only"]);
  });
}
