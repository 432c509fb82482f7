// Preset newton over its passes: ELBO and label accuracy of real query cells, as a Markdown table.
//   portolan-newton [PAIR]      PAIR: only this one; test data in $PORTOLAN_TEST_DATA
// Accuracy: majority label of the 15 nearest reference cells, both sides encoded by the model.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/archive/saved_model.h"
#include "core/io/query_reader.h"
#include "core/matrix/gene_alignment.h"
#include "core/model/model.h"
#include "core/surgery/trainer.h"
#include "core/surgery/training_session.h"

namespace portolan {
namespace {

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", std::string(value.status().message()).c_str());
  std::exit(1);
}

struct Pair {
  std::string name;
  std::string model;
  std::string reference;  // counts file
  std::string query;
  std::string batch_key;
  std::string label_key;  // none: no accuracy
  std::string batch;      // the cells of this batch of the file are the query, if set
};

struct Labelled {
  TrainingCells cells;
  std::vector<std::string> labels;
};

Labelled Read(const std::string& path, const Pair& pair, const Model& model, bool query) {
  const auto reader = Must(OpenQuery(path));
  const auto genes = Must(reader->GeneNames({}));
  const auto alignment =
      Must(GeneAlignment::Create(model.description().genes, genes, reader->cell_names()));
  CsrMatrix all;
  all.cols = alignment.reference_genes();
  const absl::Status read =
      reader->ReadCounts({}, alignment, 1024, CancelToken(), [&](int64_t, CsrMatrix block) {
        all.Append(block);
        return absl::OkStatus();
      });
  if (!read.ok()) std::exit(1);
  ObsColumn batches;
  batches.values.assign(reader->cell_names().size(), "query");
  if (!pair.batch_key.empty()) batches = Must(reader->ReadObs(pair.batch_key));
  const ObsColumn labels =
      pair.label_key.empty() ? ObsColumn() : Must(reader->ReadObs(pair.label_key));
  std::map<std::string, std::vector<int64_t>> rows;
  for (size_t i = 0; i < batches.values.size(); ++i) {
    const std::string batch = batches.values[i].value_or("");
    if (pair.batch.empty() || (batch == pair.batch) == query) {
      rows[batch].push_back(static_cast<int64_t>(i));
    }
  }
  Labelled out;
  std::vector<int64_t> order;
  for (const auto& [batch, own] : rows) {
    for (const int64_t row : own) {
      order.push_back(row);
      out.cells.batch_codes.push_back(static_cast<int32_t>(out.cells.batches.size()));
      out.cells.cell_ids.push_back(StableHash64(reader->cell_names()[row]));
      if (!pair.label_key.empty()) out.labels.push_back(labels.values[row].value_or(""));
    }
    out.cells.batches.push_back(batch);
  }
  out.cells.counts = all.SelectRows(order);
  // A query without proteins.
  ProteinCounts& proteins = out.cells.proteins;
  proteins.n_proteins = static_cast<int64_t>(model.description().proteins.size());
  proteins.values.resize(order.size() * proteins.n_proteins);
  proteins.measured.resize(out.cells.batches.size() * proteins.n_proteins);
  return out;
}

std::vector<int32_t> CodesIn(const Model& model, const TrainingCells& cells) {
  std::vector<int32_t> codes;
  for (const int32_t code : cells.batch_codes) {
    codes.push_back(std::max(0, model.BatchCode(cells.batches[code])));
  }
  return codes;
}

double Accuracy(const Embedding& reference, const std::vector<std::string>& labels,
                const Embedding& query, const std::vector<std::string>& truth) {
  constexpr size_t kNeighbours = 15;
  const int64_t d = query.n_latent;
  int64_t right = 0;
  std::vector<std::pair<float, int64_t>> distances(reference.cells);
  for (int64_t i = 0; i < query.cells; ++i) {
    for (int64_t j = 0; j < reference.cells; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < d; ++k) {
        const float difference = query.mean[i * d + k] - reference.mean[j * d + k];
        sum += difference * difference;
      }
      distances[j] = {sum, j};
    }
    std::nth_element(distances.begin(), distances.begin() + kNeighbours, distances.end());
    std::map<std::string, int> votes;
    for (size_t n = 0; n < kNeighbours; ++n) ++votes[labels[distances[n].second]];
    const auto best =
        std::max_element(votes.begin(), votes.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    right += best->first == truth[i];
  }
  return static_cast<double>(right) / static_cast<double>(query.cells);
}

void Row(const Pair& pair, const std::string& what, const Model& model, const Labelled& query,
         const Embedding& reference, const std::vector<std::string>& reference_labels,
         const TrainOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const TrainResult result = Must(Train(model, query.cells, options, {}));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto extended = Must(model.Extend(result.extension));
  const std::vector<int32_t> codes = CodesIn(*extended, query.cells);
  const CellInputs inputs{query.cells.counts, codes, CellInputs::kNoAnnotations,
                          query.cells.proteins};
  CellNoise noise(1, query.cells);
  double elbo = 0;
  for (const double term : Must(NegativeElbo(*extended, inputs, noise, CancelToken())))
    elbo -= term;
  std::string accuracy = "";
  if (!query.labels.empty()) {
    const Embedding latent = Must(Encode(*extended, inputs, CancelToken()));
    accuracy = absl::StrFormat("%.4f", Accuracy(reference, reference_labels, latent, query.labels));
  }
  std::printf("| %s | %s | %d | %.2f | %s | %.2f | %s |\n", pair.name.c_str(), what.c_str(),
              result.epochs, elbo / static_cast<double>(query.cells.cells()), accuracy.c_str(),
              seconds, result.stop_reason.c_str());
  std::fflush(stdout);
}

void Table(const std::string& data, const Pair& pair) {
  const auto model = Must(Model::Create(Must(ReadSavedModel(data + "/models/" + pair.model))));
  Labelled reference;
  Embedding latent;
  if (!pair.reference.empty()) {
    reference = Read(data + "/counts/" + pair.reference, pair, *model, false);
    const std::vector<int32_t> codes = CodesIn(*model, reference.cells);
    latent = Must(Encode(*model, CellInputs{reference.cells.counts, codes}, CancelToken()));
  }
  const Labelled query = Read(data + "/counts/" + pair.query, pair, *model, true);
  const ModelClass model_class = model->description().model_class;
  const TrainOptions newton = PresetOptions(Preset::kNewton, query.cells.cells(), model_class);
  for (const int passes : {4, 7, 10, 14, 20, 32, 40}) {
    TrainOptions options = newton;
    options.max_epochs = passes;
    options.newton->min_gain = 0;
    options.newton->min_share = 0;
    Row(pair, "passes", *model, query, latent, reference.labels, options);
  }
  Row(pair, "newton", *model, query, latent, reference.labels, newton);
  TrainOptions adam = PresetOptions(Preset::kScvi, query.cells.cells(), model_class);
  adam.max_epochs = 50;
  Row(pair, "scvi, 50 epochs", *model, query, latent, reference.labels, adam);
}

}  // namespace
}  // namespace portolan

int main(int argc, char** argv) {
  using portolan::Pair;
  const char* named = std::getenv("PORTOLAN_TEST_DATA");
  const std::string data = named != nullptr ? named : "../shared/data";
  const std::string only = argc > 1 ? argv[1] : "";
  const std::string kang = "split_kang_ref_4donors.h5ad";
  const std::string donors = "split_kang_query_4donors.h5ad";
  const std::string scgen = "kang_scgen_valid_counts_1975.h5ad";
  const std::vector<Pair> pairs = {
      {"kang_scvi", "kang_scvi", kang, donors, "batch", "cell_type", ""},
      {"kang_scanvi", "kang_scanvi", kang, donors, "batch", "cell_type", ""},
      {"control_to_stimulated", "kang_scgen_control_scvi", scgen, scgen, "batch", "cell_type",
       "stimulated"},
      {"cite_totalvi", "cite_totalvi", "", "pbmc5k_rna_3994.h5ad", "", "", ""}};
  std::printf("| pair | run | passes | ELBO | 15-NN accuracy | seconds | stopped by |\n");
  std::printf("|---|---|---:|---:|---:|---:|---|\n");
  for (const Pair& pair : pairs) {
    if (only.empty() || only == pair.name) portolan::Table(data, pair);
  }
  return 0;
}
