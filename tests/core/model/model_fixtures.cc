#include "tests/core/model/model_fixtures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/archive/tensor_bundle.h"
#include "core/base/philox.h"
#include "core/io/query_reader.h"
#include "core/matrix/gene_alignment.h"
#include "core/surgery/column_init.h"
#include "tests/paths.h"

namespace portolan {
namespace {

const std::string kVariants = SourceDir() + "/tests/data/variants";

VariantCells ReadCells() {
  const auto reader = OpenQuery(VariantCountsPath()).value();
  const auto genes = reader->GeneNames({}).value();
  const auto alignment = GeneAlignment::Create(genes, genes, reader->cell_names()).value();
  VariantCells cells;
  cells.counts.cols = alignment.reference_genes();
  const absl::Status status =
      reader->ReadCounts({}, alignment, 64, CancelToken(), [&](int64_t, const CsrMatrix& block) {
        cells.counts.Append(block);
        return absl::OkStatus();
      });
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  cells.names = reader->cell_names();
  const ObsColumn batches = reader->ReadObs("batch").value();
  for (const auto& value : batches.values) {
    cells.batch_codes.push_back(value == "b" ? 1 : 0);
  }
  return cells;
}

// An obs column of the cells, read once.
const std::vector<std::string>& ObsText(const std::string& column) {
  static auto& columns = *new std::map<std::string, std::vector<std::string>>;
  std::vector<std::string>& values = columns[column];
  if (values.empty()) {
    const ObsColumn read = OpenQuery(VariantCountsPath()).value()->ReadObs(column).value();
    for (const auto& value : read.values) values.push_back(value.value());
  }
  return values;
}

int32_t CodeOf(const std::vector<std::string>& names, const std::string& name) {
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : static_cast<int32_t>(it - names.begin());
}

}  // namespace

std::vector<std::string> VariantNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kVariants)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string VariantDirectory(const std::string& name) { return absl::StrCat(kVariants, "/", name); }

std::string VariantCountsPath() { return absl::StrCat(kVariants, "/counts.h5ad"); }

SavedModel ReadVariant(const std::string& name) {
  return ReadSavedModel(VariantDirectory(name)).value();
}

std::shared_ptr<const Model> LoadVariant(const std::string& name) {
  return Model::Create(ReadVariant(name)).value();
}

const VariantCells& Cells() {
  static const auto& cells = *new VariantCells(ReadCells());
  return cells;
}

CellAnnotations AnnotationsFor(const Model& model) {
  const ModelDescription& d = model.description();
  CellAnnotations annotations;
  annotations.n_categorical = static_cast<int64_t>(d.categorical_covariates.size());
  annotations.n_continuous = static_cast<int64_t>(d.continuous_covariates.size());
  const auto cells = static_cast<size_t>(Cells().counts.rows());
  for (size_t cell = 0; cell < cells; ++cell) {
    for (size_t i = 0; i < d.categorical_covariates.size(); ++i) {
      annotations.categorical.push_back(
          CodeOf(d.covariate_categories[i], ObsText(d.categorical_covariates[i])[cell]));
    }
    for (const std::string& column : d.continuous_covariates) {
      annotations.continuous.push_back(std::stof(ObsText(column)[cell]));
    }
    if (!d.size_factor_key.empty()) {
      annotations.size_factors.push_back(std::stof(ObsText(d.size_factor_key)[cell]));
    }
  }
  if (d.architecture.dispersion == Dispersion::kGeneLabel) annotations.labels = LabelsFor(model);
  return annotations;
}

std::vector<int32_t> LabelsFor(const Model& model) {
  std::vector<int32_t> codes;
  for (const std::string& label : ObsText("cell_type")) {
    codes.push_back(CodeOf(model.description().labels.categories, label));
  }
  return codes;
}

TrainingCells QueryOf(const std::vector<QueryBatch>& batches, const Model& model) {
  TrainingCells cells = QueryOf(batches);
  std::vector<int64_t> rows;
  for (const QueryBatch& batch : batches) {
    rows.insert(rows.end(), batch.rows.begin(), batch.rows.end());
  }
  cells.annotations = AnnotationsFor(model).SelectRows(rows);
  return cells;
}

TrainingCells QueryOf(const std::vector<QueryBatch>& batches) {
  TrainingCells cells;
  cells.counts.cols = Cells().counts.cols;
  for (const QueryBatch& batch : batches) {
    cells.counts.Append(Cells().counts.SelectRows(batch.rows));
    cells.batch_codes.insert(cells.batch_codes.end(), batch.rows.size(),
                             static_cast<int32_t>(cells.batches.size()));
    cells.batches.push_back(batch.name);
    for (const int64_t row : batch.rows) {
      cells.cell_ids.push_back(StableHash64(Cells().names[row]));
    }
  }
  return cells;
}

std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> rows(end - begin);
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

Extension RandomAdapter(const Model& model, const std::vector<std::string>& batches,
                        uint64_t seed) {
  TrainingCells cells;
  cells.batches = batches;
  Extension extension;
  extension.batches = batches;
  extension.columns = InitialColumns(model, cells, seed);
  return extension;
}

std::string BytesOf(const Extension& extension) { return SerializeBundle(ToBundle(extension)); }

CsrMatrix ToCsr(int64_t rows, int64_t cols, const std::vector<float>& dense) {
  CsrMatrix csr;
  csr.cols = cols;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      const float value = dense[i * cols + j];
      if (value == 0) continue;
      csr.columns.push_back(static_cast<int32_t>(j));
      csr.values.push_back(value);
    }
    csr.row_offsets.push_back(csr.nonzeros());
  }
  return csr;
}

CsrMatrix GoldenCounts() {
  std::vector<float> dense;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 100; ++j) {
      dense.push_back(static_cast<float>((7 * i + 3 * j + (i * j) % 5) % 11));
    }
  }
  return ToCsr(8, 100, dense);
}

ProteinCounts GoldenProteins() {
  ProteinCounts proteins;
  proteins.n_proteins = 100;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 100; ++j) {
      proteins.values.push_back(static_cast<float>((5 * i + 2 * j + (i * j) % 7) % 13));
    }
  }
  proteins.measured.assign(200, 1);
  return proteins;
}

void ConstantNoise::Normal(RandomUse, std::span<const int64_t> rows, int64_t width, float* out) {
  std::fill_n(out, static_cast<int64_t>(rows.size()) * width, 0.37f);
}

void ConstantNoise::Uniform(const std::string&, std::span<const int64_t> rows, int64_t width,
                            float* out) {
  std::fill_n(out, static_cast<int64_t>(rows.size()) * width, 1.0f);
}

std::string SharedDataPath(const std::string& name) {
  const char* const folder = std::getenv("PORTOLAN_TEST_DATA");
  const std::string path =
      absl::StrCat(folder != nullptr ? folder : SourceDir() + "/../shared/data", "/", name);
  return std::filesystem::exists(path) ? path : "";
}

std::string TempPath(const std::string& name) {
  const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string unique = TestNameOf(
      absl::StrCat(test->test_suite_name(), "_", test->name(), "_", getpid(), "_", name));
  return (std::filesystem::path(testing::TempDir()) / unique).string();
}

std::string TestNameOf(const std::string& text) {
  std::string name = text;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

}  // namespace portolan
