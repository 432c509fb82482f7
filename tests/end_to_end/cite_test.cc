// Real data: cells of one experiment onto a TOTALVI reference of another, through server and
// client, beside what scvi-tools 1.4.2 makes of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/io/hdf5.h"
#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::HasSubstr;
using Column = std::vector<double>;

constexpr double kElbo = -1537.004;  // get_elbo() after 50 epochs; a second seed: -1537.006
constexpr int64_t kProteins = 14;

double Mean(const Column& a) {
  return std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size());
}

double Correlation(const Column& a, const Column& b) {
  const double mean_a = Mean(a);
  const double mean_b = Mean(b);
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

// What scvi-tools computed: obsm/RUN/PROTEIN.
Column Expected(const std::string& run, const std::string& protein) {
  const auto file = hdf5::OpenFile(TestData("expected/cite_query.h5ad")).value();
  const std::string path = "obsm/" + run + "/" + protein;
  return hdf5::ReadAll<double>(hdf5::OpenDataset(file, path, path).value()).value();
}

Column ColumnOf(const Embedding& values, int64_t column) {
  Column out;
  for (int64_t cell = 0; cell < values.cells; ++cell) out.push_back(values.row(cell)[column]);
  return out;
}

class CiteTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* file : {"models/cite_totalvi/model.pt", "counts/pbmc5k_rna_3994.h5ad",
                             "counts/pbmc_5k_protein_v3.h5ad", "expected/cite_query.h5ad"}) {
      if (TestData(file).empty()) GTEST_SKIP() << file << " is not in PORTOLAN_TEST_DATA";
    }
    std::filesystem::create_directory_symlink(
        std::filesystem::absolute(TestData("models/cite_totalvi")), atlases_ / "cite_totalvi");
    server_ = std::make_unique<RunningServer>(ServerArguments{.atlases = atlases_.path()});
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    EXPECT_EQ(server_->Stop(), 0);
  }

  const TemporaryDirectory atlases_;
  const TemporaryDirectory out_;
  const std::string result_ = out_ / "mapped.h5ad";
  std::unique_ptr<RunningServer> server_;
};

TEST_F(CiteTest, ImputesProteinsAsScviToolsDoes) {
  const nlohmann::json report = server_->RunJson({"map",
                                                  TestData("counts/pbmc5k_rna_3994.h5ad"),
                                                  "--atlas",
                                                  "cite_totalvi",
                                                  "--batch",
                                                  "rna",
                                                  "--epochs",
                                                  "50",
                                                  "--preset",
                                                  "scvi",
                                                  "--seed",
                                                  "0",
                                                  "--outputs",
                                                  "proteins,foreground",
                                                  "--transform-batch",
                                                  "PBMC10k",
                                                  "--samples",
                                                  "10",
                                                  "-o",
                                                  result_});
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(ReadNumber(result_, "max_abs_dz"), 0.0);
  EXPECT_EQ(ReadText(result_, "extension_kind"), "adapter");
  const double elbo = ReadNumber(result_, "elbo");
  EXPECT_NEAR(elbo, kElbo, 1e-3 * std::abs(kElbo));
  std::printf("ELBO %.3f (scvi-tools %.3f)\n%-18s %9s %9s %9s %11s %11s\n", elbo, kElbo, "protein",
              "ours", "seeds", "mean", "foreground", "difference");

  const std::vector<std::string> names = ReadTexts(result_, "expression/portolan_proteins");
  const Embedding proteins = ReadObsm(result_, "portolan_proteins");
  const Embedding foreground = ReadObsm(result_, "portolan_foreground");
  ASSERT_EQ(static_cast<int64_t>(names.size()), kProteins);
  for (int64_t i = 0; i < kProteins; ++i) {
    const Column ours = ColumnOf(proteins, i);
    const Column theirs = Expected("totalvi_joint_proteins", names[i]);
    const double close = Correlation(ours, theirs);
    const double seeds = Correlation(theirs, Expected("totalvi_joint_seed1_proteins", names[i]));
    EXPECT_GT(close, seeds - 0.01) << names[i];
    const Column p = ColumnOf(foreground, i);
    const Column expected = Expected("totalvi_joint_foreground", names[i]);
    Column difference;
    for (size_t cell = 0; cell < p.size(); ++cell) {
      difference.push_back(std::abs(p[cell] - expected[cell]));
    }
    EXPECT_LT(Mean(difference), 0.05) << names[i];
    std::printf("%-18s %9.4f %9.4f %9.3f %11.4f %11.4f\n", names[i].c_str(), close, seeds,
                Mean(ours) / Mean(theirs), Correlation(p, expected), Mean(difference));
  }
  std::fflush(stdout);
}

TEST_F(CiteTest, TakesTheProteinsThatAnotherPanelShares) {
  const Ended ended =
      server_->Run({"map", TestData("counts/pbmc_5k_protein_v3.h5ad"), "--atlas", "cite_totalvi",
                    "--batch", "v3", "--proteins", "protein_expression", "--protein-names",
                    "protein_names", "--epochs", "3", "--outputs", "proteins", "-o", result_});
  ASSERT_EQ(ended.status, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("14"));
  EXPECT_EQ(ReadNumber(result_, "proteins/matched"), kProteins);
  const Embedding proteins = ReadObsm(result_, "portolan_proteins");
  EXPECT_EQ(proteins.cells, 200);
  EXPECT_EQ(proteins.width, kProteins);
  for (const float value : proteins.values) EXPECT_TRUE(std::isfinite(value) && value >= 0);
}

TEST_F(CiteTest, AFewPassesDoWhatFiftyEpochsDo) {
  const TemporaryDirectory out;
  const std::string result = out / "mapped.h5ad";
  const nlohmann::json report =
      server_->RunJson({"map", TestData("counts/pbmc5k_rna_3994.h5ad"), "--atlas", "cite_totalvi",
                        "--batch", "rna", "--preset", "newton", "-o", result});
  ASSERT_FALSE(HasFailure());
  EXPECT_LE(report["epochs"]["rna"].get<int>(), 40);
  EXPECT_GE(ReadNumber(result, "elbo"), kElbo);
}

}  // namespace
}  // namespace portolan::end_to_end
