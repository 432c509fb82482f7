#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/io/hdf5.h"
#include "core/io/query_reader.h"
#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr int64_t kCells = 900;

/// One mapping of the demo, looked at from all sides.
class MapTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<TemporaryDirectory>();
    const RunningServer server;
    result_ = *directory_ / "mapped.h5ad";
    ended_ = server.Run({"map", DemoQuery(), "--atlas", kDemoAtlas, "--batch-key", "batch",
                         "--epochs", "20", "--seed", "3", "-o", result_});
    versions_ = server.RunJson({"versions", kDemoAtlas})["versions"];
  }
  static void TearDownTestSuite() { directory_.reset(); }

  void SetUp() override { ASSERT_EQ(ended_.status, 0) << ended_.err; }

  static inline std::unique_ptr<TemporaryDirectory> directory_;
  static inline std::string result_;
  static inline Ended ended_;
  static inline nlohmann::json versions_;
};

TEST_F(MapTest, WritesTheResultAndNothingElse) {
  EXPECT_THAT(directory_->Entries(), ElementsAre("mapped.h5ad"));
}

TEST_F(MapTest, SaysWhatItDid) {
  EXPECT_THAT(ended_.out,
              AllOf(HasSubstr("mapped 900 cells onto pbmc_demo (SCANVI, independent"),
                    HasSubstr("970 of 1000 matched; 30 missing"), HasSubstr("summed (MATR3)"),
                    HasSubstr("lab_d: 500 cells, 20 epochs, 80 steps"),
                    HasSubstr("lab_e: 400 cells, 20 epochs, 60 steps"), HasSubstr(result_)));
  EXPECT_THAT(ended_.err, AllOf(HasSubstr("uploaded 900 of 900 cells"), HasSubstr("stage: train"),
                                HasSubstr("lab_d  epoch 20/20"), HasSubstr("lab_e  epoch 20/20")));
  EXPECT_THAT(ended_.err, Not(HasSubstr("stage: \n")));
}

TEST_F(MapTest, KeepsTheQuerysCellsAndColumns) {
  const auto query = OpenQuery(DemoQuery());
  const auto result = OpenQuery(result_);
  ASSERT_TRUE(query.ok()) << query.status();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ((*result)->cell_names(), (*query)->cell_names());
  EXPECT_EQ(*(*result)->GeneNames({"X"}), *(*query)->GeneNames({"X"}));
  std::vector<std::string> columns = (*query)->ObsColumnNames();
  ASSERT_THAT(columns, SizeIs(Gt(2u)));
  for (const std::string& column : columns) {
    EXPECT_EQ((*result)->ReadObs(column)->values, (*query)->ReadObs(column)->values) << column;
  }
  columns.push_back("portolan_label");
  EXPECT_THAT((*result)->ObsColumnNames(), ElementsAreArray(columns));
}

TEST_F(MapTest, WritesTheLatent) {
  const Embedding latent = ReadObsm(result_, "X_portolan");
  EXPECT_EQ(latent.cells, kCells);
  EXPECT_EQ(latent.width, 15);
  ASSERT_THAT(latent.values, SizeIs(kCells * 15));
  double squares = 0;
  for (const float value : latent.values) {
    ASSERT_TRUE(std::isfinite(value));
    squares += value * value;
  }
  EXPECT_GT(squares / kCells, 1.0);  // not collapsed
}

TEST_F(MapTest, WritesLabelsAndTheirProbabilities) {
  const Embedding probabilities = ReadObsm(result_, "portolan_probs");
  const std::vector<std::string> labels = ReadTexts(result_, "labels");
  ASSERT_EQ(probabilities.cells, kCells);
  ASSERT_EQ(probabilities.width, 8);
  ASSERT_THAT(labels, SizeIs(8));
  const auto given = ReadObs(result_, "portolan_label");
  ASSERT_THAT(given, SizeIs(kCells));
  for (int64_t cell = 0; cell < kCells; ++cell) {
    const auto row = probabilities.row(cell);
    EXPECT_THAT(row, Each(AllOf(testing::Ge(0.0f), testing::Le(1.0f))));
    double sum = 0;
    for (const float p : row) sum += p;
    EXPECT_NEAR(sum, 1.0, 1e-5);
    const auto most = std::max_element(row.begin(), row.end()) - row.begin();
    EXPECT_EQ(given[cell], labels[most]);
  }
}

TEST_F(MapTest, TheLabelIsACategorical) {
  const auto result = OpenQuery(result_);
  ASSERT_TRUE(result.ok());
  const auto file = hdf5::OpenFile(result_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(hdf5::KindOf(*file, "obs/portolan_label/codes"), hdf5::ObjectKind::kDataset);
  EXPECT_EQ(hdf5::KindOf(*file, "obs/portolan_label/categories"), hdf5::ObjectKind::kDataset);
}

TEST_F(MapTest, LabelsMostCellsRight) { EXPECT_GT(LabelAccuracy(result_), 0.85); }

TEST_F(MapTest, ReportsHowItWasMade) {
  const std::string version = ReadText(result_, "version");
  ASSERT_EQ(versions_.size(), 2u);
  EXPECT_EQ(version, versions_[1]["id"]);
  EXPECT_EQ(ReadText(result_, "parent"), versions_[0]["id"]);
  EXPECT_EQ(ReadText(result_, "atlas"), kDemoAtlas);
  EXPECT_EQ(ReadText(result_, "model"), "SCANVI");
  EXPECT_EQ(ReadText(result_, "scvi_version"), "1.4.2");
  EXPECT_EQ(ReadText(result_, "strategy"), "independent");
  EXPECT_EQ(ReadText(result_, "preset"), "scvi");
  EXPECT_EQ(ReadText(result_, "extension_kind"), "adapter");
  EXPECT_NE(ReadText(result_, "instruction_set"), "");
  EXPECT_EQ(ReadNumber(result_, "seed"), 3);
  EXPECT_EQ(ReadNumber(result_, "cells"), kCells);
  EXPECT_EQ(ReadNumber(result_, "max_abs_dz"), 0.0);
  EXPECT_LT(ReadNumber(result_, "elbo"), -500.0);
  EXPECT_GT(ReadNumber(result_, "elbo"), -1500.0);
  EXPECT_GT(ReadNumber(result_, "extension_bytes"), 0);
  EXPECT_GT(ReadNumber(result_, "timings/train"), 0);
  EXPECT_THAT(ReadTexts(result_, "batch_names"), ElementsAre("lab_d", "lab_e"));
}

TEST_F(MapTest, ReportsTheTrainingOfEachBatch) {
  for (const auto& [batch, cells, steps] :
       std::vector<std::tuple<std::string, int, int>>{{"lab_d", 500, 80}, {"lab_e", 400, 60}}) {
    EXPECT_EQ(ReadNumber(result_, "epochs/" + batch), 20);
    EXPECT_EQ(ReadNumber(result_, "steps/" + batch), steps);
    EXPECT_EQ(ReadNumber(result_, "batches/" + batch + "/cells"), cells);
    EXPECT_EQ(ReadNumber(result_, "batches/" + batch + "/trained"), 1);
    EXPECT_EQ(ReadText(result_, "batches/" + batch + "/stop_reason"), "epochs");
    const std::vector<double> losses = ReadNumbers(result_, "losses/" + batch);
    ASSERT_THAT(losses, SizeIs(20));
    EXPECT_LT(losses.back(), losses.front());
  }
  // The mapping's ELBO is the mean over the cells, not over the batches.
  EXPECT_NEAR(ReadNumber(result_, "elbo"),
              (500 * ReadNumber(result_, "batches/lab_d/elbo") +
               400 * ReadNumber(result_, "batches/lab_e/elbo")) /
                  kCells,
              1e-6);
}

TEST_F(MapTest, ReportsHowTheGenesMet) {
  EXPECT_EQ(ReadNumber(result_, "genes/reference_genes"), 1000);
  EXPECT_EQ(ReadNumber(result_, "genes/matched"), 970);
  EXPECT_EQ(ReadNumber(result_, "genes/extra"), 200);
  EXPECT_EQ(ReadNumber(result_, "genes/reordered"), 1);
  EXPECT_THAT(ReadTexts(result_, "genes/missing"), SizeIs(30));
  EXPECT_THAT(ReadTexts(result_, "genes/duplicated"), ElementsAre("MATR3"));
}

}  // namespace
}  // namespace portolan::end_to_end
