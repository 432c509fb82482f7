// Cells without proteins onto a TOTALVI reference of CITE-seq cells: a whole training run beside
// two of scvi-tools (expected/cite_query.h5ad), which differ by their seeds.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"
#include "core/model/expression.h"
#include "core/surgery/trainer.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr double kElbo = -1537.004;  // get_elbo() of scvi-tools' runs: -1537.0038 and -1537.0060
constexpr int kEpochs = 50;
constexpr int kSamples = 10;

using Column = std::vector<double>;

double Correlation(const Column& a, const Column& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

double Mean(const Column& a) {
  return std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size());
}

class CiteTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"models/cite_totalvi", "counts/pbmc5k_rna_3994.h5ad", "expected/cite_query.h5ad"}) {
      if (SharedDataPath(name).empty()) GTEST_SKIP() << "no shared test data: " << name;
    }
    reference_ =
        Model::Create(ReadSavedModel(SharedDataPath("models/cite_totalvi")).value()).value();
    const auto reader = OpenQuery(SharedDataPath("counts/pbmc5k_rna_3994.h5ad")).value();
    const auto genes = reader->GeneNames({}).value();
    const auto alignment =
        GeneAlignment::Create(reference_->description().genes, genes, reader->cell_names()).value();
    cells_.counts.cols = alignment.reference_genes();
    ASSERT_TRUE(reader
                    ->ReadCounts({}, alignment, 4096, CancelToken(),
                                 [&](int64_t, const CsrMatrix& block) {
                                   cells_.counts.Append(block);
                                   return absl::OkStatus();
                                 })
                    .ok());
    cells_.batches = {"rna"};
    cells_.batch_codes.assign(cells_.cells(), 0);
    for (const auto& name : reader->cell_names()) cells_.cell_ids.push_back(StableHash64(name));
  }

  // A column that scvi-tools computed: obsm/RUN/PROTEIN.
  static Column Expected(const std::string& run, const std::string& protein) {
    const auto file = hdf5::OpenFile(SharedDataPath("expected/cite_query.h5ad")).value();
    const std::string path = absl::StrCat("obsm/", run, "/", protein);
    return hdf5::ReadAll<double>(hdf5::OpenDataset(file, path, path).value()).value();
  }

  Column Ours(const std::vector<float>& values, size_t protein) const {
    const size_t width = reference_->description().proteins.size();
    Column out;
    for (size_t row = protein; row < values.size(); row += width) out.push_back(values[row]);
    return out;
  }

  // Closeness of `values` to scvi-tools' first run, protein by protein, beside that of its seeds.
  void CompareProteins(const std::vector<float>& values) const {
    const auto& proteins = reference_->description().proteins;
    std::printf("%-18s %10s %10s %10s\n", "protein", "ours", "seeds", "mean ratio");
    for (size_t i = 0; i < proteins.size(); ++i) {
      const Column ours = Ours(values, i);
      const Column theirs = Expected("totalvi_joint_proteins", proteins[i]);
      const double close = Correlation(ours, theirs);
      const double seeds =
          Correlation(theirs, Expected("totalvi_joint_seed1_proteins", proteins[i]));
      std::printf("%-18s %10.4f %10.4f %10.3f\n", proteins[i].c_str(), close, seeds,
                  Mean(ours) / Mean(theirs));
      EXPECT_GT(close, seeds - 0.01) << proteins[i];
    }
    std::fflush(stdout);
  }

  // Of foreground probabilities there is one run; where they hardly differ between cells, their
  // correlation says little.
  void CompareForeground(const std::vector<float>& values) const {
    const auto& proteins = reference_->description().proteins;
    std::printf("%-18s %10s %10s\n", "foreground", "ours", "|difference|");
    for (size_t i = 0; i < proteins.size(); ++i) {
      const Column ours = Ours(values, i);
      const Column theirs = Expected("totalvi_joint_foreground", proteins[i]);
      Column difference;
      for (size_t row = 0; row < ours.size(); ++row) {
        difference.push_back(std::abs(ours[row] - theirs[row]));
      }
      const double close = Correlation(ours, theirs);
      std::printf("%-18s %10.4f %10.4f\n", proteins[i].c_str(), close, Mean(difference));
      EXPECT_GT(close, 0.85) << proteins[i];
      EXPECT_LT(Mean(difference), 0.05) << proteins[i];
    }
    std::fflush(stdout);
  }

  std::shared_ptr<const Model> reference_;
  TrainingCells cells_;
};

TEST_F(CiteTest, ImputesProteinsAsScviToolsDoes) {
  TrainOptions options = PresetOptions(Preset::kScvi, cells_.cells(), ModelClass::kTotalvi);
  options.max_epochs = kEpochs;
  const TrainResult run = Train(*reference_, cells_, options, {}).value();
  const auto model = reference_->Extend(run.extension).value();
  EXPECT_TRUE(run.extension.is_adapter());
  const std::vector<int32_t> codes(cells_.cells(), model->BatchCode("rna"));
  const CellInputs inputs{cells_.counts, codes, cells_.annotations, cells_.proteins};
  CellNoise noise(options.seed, cells_);
  const std::vector<double> terms = NegativeElbo(*model, inputs, noise, CancelToken()).value();
  const double elbo = -Mean(terms);
  std::printf("epochs %d, steps %lld, ELBO %.3f (scvi-tools %.3f)\n", run.epochs,
              static_cast<long long>(run.steps), elbo, kElbo);
  std::fflush(stdout);
  EXPECT_NEAR(elbo, kElbo, 1e-3 * std::abs(kElbo));

  ExpressionOptions asked;
  asked.proteins.resize(model->description().proteins.size());
  std::iota(asked.proteins.begin(), asked.proteins.end(), 0);
  asked.transform_batches = {0};
  asked.samples = kSamples;
  asked.foreground = true;
  const ExpressionBlock block = Express(*model, inputs, asked, noise, CancelToken()).value();
  CompareProteins(block.proteins);
  CompareForeground(block.foreground);
}

}  // namespace
}  // namespace portolan
