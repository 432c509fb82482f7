#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using Latent = std::map<std::string, std::string>;

const std::vector<std::string> kFewEpochs = {"--epochs", "5"};

std::vector<std::string> With(const std::vector<std::string>& more) {
  std::vector<std::string> words = kFewEpochs;
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Whatever the way a query comes and is worked on, the same bits come out as from one worker.
class DeterminismTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<TemporaryDirectory>();
    RunningServer one_worker({.workers = 1});
    first_report_ = one_worker.Map(DemoQuery(), *directory_ / "first.h5ad", kFewEpochs);
    EXPECT_EQ(one_worker.Stop(), 0);
    first_ = LatentByCell(*directory_ / "first.h5ad");
    server_ = std::make_unique<RunningServer>(ServerArguments{.workers = 2});
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    server_.reset();
    directory_.reset();
  }

  void SetUp() override { ASSERT_EQ(first_.size(), 900u); }

  /// Maps with two workers.
  static Latent Map(const std::string& query, const std::vector<std::string>& more) {
    const std::string output = *directory_ / "again.h5ad";
    report_ = server_->Map(query, output, more);
    return LatentByCell(output);
  }

  static void ExpectTheFirst(const Latent& latent) {
    EXPECT_TRUE(latent == first_);
    EXPECT_EQ(report_["version"], first_report_["version"]);
    EXPECT_EQ(report_["losses"], first_report_["losses"]);
    EXPECT_EQ(report_["elbo"], first_report_["elbo"]);
  }

  static inline std::unique_ptr<TemporaryDirectory> directory_;
  static inline std::unique_ptr<RunningServer> server_;
  static inline nlohmann::json first_report_;
  static inline nlohmann::json report_;
  static inline Latent first_;
};

TEST_F(DeterminismTest, WorkersDoNotMatter) { ExpectTheFirst(Map(DemoQuery(), kFewEpochs)); }

TEST_F(DeterminismTest, TheSameSeedGivesTheSame) {
  const Latent latent = Map(DemoQuery(), With({"--seed", "7"}));
  EXPECT_TRUE(Map(DemoQuery(), With({"--seed", "7"})) == latent);
}

TEST_F(DeterminismTest, AnotherSeedGivesAnother) {
  const Latent latent = Map(DemoQuery(), With({"--seed", "8"}));
  ASSERT_EQ(latent.size(), first_.size());
  int same = 0;
  for (const auto& [cell, row] : latent) same += row == first_.at(cell) ? 1 : 0;
  EXPECT_EQ(same, 0);
  EXPECT_NE(report_["version"], first_report_["version"]);
}

TEST_F(DeterminismTest, SmallChunksDoNotMatter) {
  ExpectTheFirst(Map(DemoQuery(), With({"--chunk-cells", "64"})));
}

TEST_F(DeterminismTest, OtherChunksDoNotMatter) {
  ExpectTheFirst(Map(DemoQuery(), With({"--chunk-cells", "500"})));
}

TEST_F(DeterminismTest, TheOrderOfTheCellsDoesNotMatter) {
  const QueryCells query = QueryCells::Read(DemoQuery());
  std::vector<int64_t> rows(query.cells.size());
  std::iota(rows.rbegin(), rows.rend(), 0);
  const std::string reversed = *directory_ / "reversed.h5ad";
  query.SelectRows(rows).Write(reversed);
  ExpectTheFirst(Map(reversed, kFewEpochs));
}

TEST_F(DeterminismTest, TheOrderOfTheBatchesDoesNotMatter) {
  const QueryCells query = QueryCells::Read(DemoQuery());
  std::map<std::string, std::vector<int64_t>> rows;
  for (size_t row = 0; row < query.cells.size(); ++row) {
    rows[query.batches[row].value_or("")].push_back(static_cast<int64_t>(row));
  }
  ASSERT_EQ(rows.size(), 2u);
  std::vector<int64_t> interleaved;
  const std::vector<int64_t>& d = rows["lab_d"];
  const std::vector<int64_t>& e = rows["lab_e"];
  for (size_t i = 0; i < d.size(); ++i) {
    if (i < e.size()) interleaved.push_back(e[e.size() - 1 - i]);
    interleaved.push_back(d[i]);
  }
  const std::string file = *directory_ / "interleaved.h5ad";
  query.SelectRows(interleaved).Write(file);
  ExpectTheFirst(Map(file, With({"--chunk-cells", "77"})));
}

TEST_F(DeterminismTest, HoldsForJointAndChainedTrainingToo) {
  const QueryCells query = QueryCells::Read(DemoQuery());
  std::vector<int64_t> rows(query.cells.size());
  std::iota(rows.rbegin(), rows.rend(), 0);
  const std::string reversed = *directory_ / "reversed_too.h5ad";
  query.SelectRows(rows).Write(reversed);
  for (const char* strategy : {"joint", "chain"}) {
    const Latent latent = Map(DemoQuery(), With({"--strategy", strategy}));
    EXPECT_TRUE(Map(reversed, With({"--strategy", strategy})) == latent) << strategy;
  }
}

}  // namespace
}  // namespace portolan::end_to_end
