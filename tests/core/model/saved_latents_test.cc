// Saved models of the test data give the latents that scvi-tools gives (tests/data/latents, made by
// tests/python/make_latents.py).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/io/query_reader.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kTolerance = 1e-5;

/// tests/data/latents, beside tests/data/variants.
fs::path Fixtures() {
  return fs::path(VariantCountsPath()).parent_path().parent_path() / "latents";
}

std::vector<std::string> Names() {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(Fixtures())) {
    if (entry.path().extension() == ".json") names.insert(entry.path().stem().string());
  }
  return {names.begin(), names.end()};
}

/// The cells of a fixture, as a model reads them.
struct FixtureCells {
  CsrMatrix counts;
  ProteinCounts proteins;
};

CsrMatrix ReadCounts(QueryReader& reader, const ModelDescription& description,
                     const std::string& layer) {
  const MatrixSource source{layer.empty() ? "X" : "layers/" + layer};
  const auto genes = reader.GeneNames(source).value();
  const GeneAlignment alignment =
      GeneAlignment::Create(description.genes, genes, reader.cell_names(), {.min_share = 0})
          .value();
  CsrMatrix counts;
  counts.cols = alignment.reference_genes();
  const absl::Status read = reader.ReadCounts(source, alignment, 4096, CancelToken(),
                                              [&](int64_t, const CsrMatrix& block) {
                                                counts.Append(block);
                                                return absl::OkStatus();
                                              });
  EXPECT_TRUE(read.ok()) << read;
  return counts;
}

ProteinCounts ReadProteins(QueryReader& reader, const ModelDescription& description,
                           const std::string& key, size_t batches) {
  // An array has its names in uns, a data frame has them itself.
  ProteinSource source{key, "protein_names"};
  if (!reader.ProteinNames(source).ok()) source.names_key.clear();
  const auto names = reader.ProteinNames(source).value();
  const auto alignment = ProteinAlignment::Create(description.proteins, names).value();
  ProteinCounts proteins;
  proteins.n_proteins = alignment.reference_proteins();
  const absl::Status read = reader.ReadProteins(
      source, alignment, 4096, CancelToken(), [&](int64_t, const std::vector<float>& values) {
        proteins.values.insert(proteins.values.end(), values.begin(), values.end());
        return absl::OkStatus();
      });
  EXPECT_TRUE(read.ok()) << read;
  for (size_t i = 0; i < batches; ++i) {
    proteins.measured.insert(proteins.measured.end(), alignment.present().begin(),
                             alignment.present().end());
  }
  return proteins;
}

FixtureCells ReadCells(const json& fixture, const ModelDescription& description) {
  const auto reader = OpenQuery(SharedDataPath(fixture["cells"])).value();
  const std::vector<int64_t> rows = fixture["rows"];
  FixtureCells cells;
  cells.counts = ReadCounts(*reader, description, fixture["layer"]).SelectRows(rows);
  if (fixture["proteins"] != "") {
    cells.proteins = ReadProteins(*reader, description, fixture["proteins"],
                                  description.batches.categories.size())
                         .SelectRows(rows);
  }
  return cells;
}

class SavedLatents : public testing::TestWithParam<std::string> {};

TEST_P(SavedLatents, AreThoseOfScviTools) {
  std::ifstream file(Fixtures() / (GetParam() + ".json"));
  const json fixture = json::parse(file);
  const std::string directory = SharedDataPath("models/" + GetParam());
  if (directory.empty()) {
    GTEST_SKIP() << "no test data: models/" << GetParam()
                 << " (set PORTOLAN_TEST_DATA to the folder that holds models/)";
  }
  const auto model = Model::Create(ReadSavedModel(directory).value());
  ASSERT_TRUE(model.ok()) << model.status();
  const FixtureCells cells = ReadCells(fixture, (*model)->description());
  std::vector<int32_t> codes;
  for (const std::string batch : fixture["batch"]) {
    codes.push_back((*model)->has_batch_key() ? (*model)->BatchCode(batch) : 0);
    ASSERT_GE(codes.back(), 0) << batch;
  }
  const CellInputs inputs{.counts = cells.counts, .batch_codes = codes, .proteins = cells.proteins};
  const auto embedding = Encode(**model, inputs, CancelToken());
  ASSERT_TRUE(embedding.ok()) << embedding.status();
  const std::vector<std::vector<float>> expected = fixture["latent"];
  ASSERT_EQ(embedding->cells, static_cast<int64_t>(expected.size()));
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(embedding->n_latent, static_cast<int64_t>(expected[i].size()));
    for (size_t j = 0; j < expected[i].size(); ++j) {
      const double error = std::abs(embedding->mean[i * expected[i].size() + j] - expected[i][j]);
      largest = std::max(largest, std::isnan(error) ? INFINITY : error);
    }
  }
  EXPECT_LE(largest, kTolerance);
  RecordProperty("largest", std::to_string(largest));
}

INSTANTIATE_TEST_SUITE_P(Models, SavedLatents, testing::ValuesIn(Names()),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
