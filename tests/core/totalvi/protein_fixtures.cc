#include "tests/core/totalvi/protein_fixtures.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/archive/saved_model.h"
#include "core/base/philox.h"
#include "core/io/query_reader.h"
#include "tests/paths.h"

namespace portolan {
namespace {

const std::string kFolder = SourceDir() + "/tests/data/proteins/";
constexpr int64_t kProteins = 12;

TrainingCells ReadCells() {
  const auto reader = OpenQuery(absl::StrCat(kFolder, "counts.h5ad")).value();
  const auto genes = reader->GeneNames({}).value();
  const auto alignment = GeneAlignment::Create(genes, genes, reader->cell_names()).value();
  TrainingCells cells;
  cells.counts.cols = alignment.reference_genes();
  const absl::Status counts =
      reader->ReadCounts({}, alignment, 64, CancelToken(), [&](int64_t, const CsrMatrix& block) {
        cells.counts.Append(block);
        return absl::OkStatus();
      });
  const ProteinSource source{"protein_expression", ""};
  const auto names = reader->ProteinNames(source).value();
  const auto panel = ProteinAlignment::Create(names, names).value();
  cells.proteins.n_proteins = kProteins;
  auto& values = cells.proteins.values;
  const absl::Status proteins = reader->ReadProteins(
      source, panel, 64, CancelToken(), [&](int64_t, const std::vector<float>& block) {
        values.insert(values.end(), block.begin(), block.end());
        return absl::OkStatus();
      });
  if (!counts.ok() || !proteins.ok()) throw std::runtime_error("tests/data/proteins is damaged");
  cells.batches = {"all"};
  cells.batch_codes.assign(cells.cells(), 0);
  cells.proteins.measured.assign(kProteins, 1);
  for (const std::string& name : reader->cell_names()) cells.cell_ids.push_back(StableHash64(name));
  return cells;
}

}  // namespace

SavedModel ReadProteinModel(const std::string& name) {
  return ReadSavedModel(kFolder + name).value();
}

std::shared_ptr<const Model> LoadProteinModel(const std::string& name) {
  return Model::Create(ReadProteinModel(name)).value();
}

const TrainingCells& ProteinCells() {
  static const auto& cells = *new TrainingCells(ReadCells());
  return cells;
}

TrainingCells ProteinQuery(const std::vector<ProteinBatch>& batches) {
  const TrainingCells& all = ProteinCells();
  TrainingCells query;
  query.counts.cols = all.counts.cols;
  query.proteins.n_proteins = kProteins;
  for (const ProteinBatch& batch : batches) {
    const std::vector<uint8_t> panel = batch.panel.empty() ? PanelWithout({}) : batch.panel;
    query.counts.Append(all.counts.SelectRows(batch.rows));
    query.batch_codes.insert(query.batch_codes.end(), batch.rows.size(),
                             static_cast<int32_t>(query.batches.size()));
    query.batches.push_back(batch.name);
    for (const int64_t row : batch.rows) {
      query.cell_ids.push_back(all.cell_ids[row]);
      for (int64_t i = 0; i < kProteins; ++i) {
        query.proteins.values.push_back(panel[i] != 0 ? all.proteins.values[row * kProteins + i]
                                                      : 0);
      }
    }
    query.proteins.measured.insert(query.proteins.measured.end(), panel.begin(), panel.end());
  }
  return query;
}

std::vector<uint8_t> PanelWithout(const std::vector<int>& proteins) {
  std::vector<uint8_t> panel(kProteins, 1);
  for (const int protein : proteins) panel[protein] = 0;
  return panel;
}

}  // namespace portolan
