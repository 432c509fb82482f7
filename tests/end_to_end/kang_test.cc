#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/io/hdf5.h"
#include "tests/end_to_end/kang_expected.h"
#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

constexpr size_t kNeighbours = 15;

using Labels = std::vector<std::optional<std::string>>;

/// A categorical obs column of a file without genes, which is no query.
Labels ReadCategorical(const std::string& path, const std::string& column) {
  const auto file = hdf5::OpenFile(path);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  const std::string group = "obs/" + column;
  const auto codes = hdf5::OpenDataset(*file, group + "/codes", group);
  const auto categories = hdf5::OpenDataset(*file, group + "/categories", group);
  EXPECT_TRUE(codes.ok() && categories.ok()) << codes.status() << categories.status();
  if (!codes.ok() || !categories.ok()) return {};
  const auto values = hdf5::ReadAll<int64_t>(*codes);
  const auto names = hdf5::ReadStrings(*categories);
  EXPECT_TRUE(values.ok() && names.ok()) << values.status() << names.status();
  if (!values.ok() || !names.ok()) return {};
  Labels labels;
  for (const int64_t code : *values) {
    labels.push_back(code < 0 ? std::optional<std::string>() : names->at(code));
  }
  return labels;
}

/// The label that most of a cell's nearest reference cells have; of equals, the first by name.
std::string Vote(std::span<const float> cell, const Embedding& reference, const Labels& labels) {
  std::vector<std::pair<float, int64_t>> nearest;
  nearest.reserve(reference.cells);
  for (int64_t other = 0; other < reference.cells; ++other) {
    float distance = 0;
    const float* row = reference.values.data() + other * reference.width;
    for (int64_t i = 0; i < reference.width; ++i) {
      distance += (cell[i] - row[i]) * (cell[i] - row[i]);
    }
    nearest.emplace_back(distance, other);
  }
  std::partial_sort(nearest.begin(), nearest.begin() + kNeighbours, nearest.end());
  std::map<std::string, int> votes;
  for (size_t i = 0; i < kNeighbours; ++i) ++votes[labels[nearest[i].second].value_or("")];
  return std::max_element(votes.begin(), votes.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

double NeighbourAccuracy(const Embedding& query, const Labels& truth, const Embedding& reference,
                         const Labels& labels) {
  EXPECT_EQ(query.width, reference.width);
  EXPECT_EQ(query.cells, static_cast<int64_t>(truth.size()));
  EXPECT_EQ(reference.cells, static_cast<int64_t>(labels.size()));
  if (testing::Test::HasFailure()) return 0;
  int64_t right = 0;
  for (int64_t cell = 0; cell < query.cells; ++cell) {
    right += Vote(query.row(cell), reference, labels) == truth[cell] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(query.cells);
}

/// What scvi-tools 1.4.2 gets for the same model, query, strategy and 50 epochs.
struct Expected {
  std::string name;
  std::string model;      ///< below models/
  std::string reference;  ///< obsm of the reference's latents
  std::string strategy;
  double elbo;
  double neighbours;  ///< accuracy of the vote
  double classifier;  ///< accuracy of SCANVI's classifier; 0 for SCVI
};

void PrintTo(const Expected& expected, std::ostream* out) { *out << expected.name; }

/// Real data: four donors mapped onto references of four others, as well as scvi-tools does it.
class KangTest : public testing::TestWithParam<Expected> {
 protected:
  static void SetUpTestSuite() {
    if (Missing()) return;
    atlases_ = std::make_unique<TemporaryDirectory>();
    for (const char* model : {"kang_scvi", "kang_scanvi"}) {
      std::filesystem::create_directory_symlink(
          std::filesystem::absolute(TestData(std::string("models/") + model)), *atlases_ / model);
    }
    server_ =
        std::make_unique<RunningServer>(ServerArguments{.atlases = atlases_->path(), .workers = 2});
  }
  static void TearDownTestSuite() {
    if (server_) {
      EXPECT_EQ(server_->Stop(), 0);
    }
    server_.reset();
    atlases_.reset();
  }

  static bool Missing() {
    for (const char* file : {"counts/split_kang_query_4donors.h5ad", "expected/kang_reference.h5ad",
                             "models/kang_scvi/model.pt", "models/kang_scanvi/model.pt"}) {
      if (TestData(file).empty()) return true;
    }
    return false;
  }

  static inline std::unique_ptr<TemporaryDirectory> atlases_;
  static inline std::unique_ptr<RunningServer> server_;
};

TEST_P(KangTest, MapsAsWellAsScviTools) {
  if (Missing()) GTEST_SKIP() << "the Kang data are not in PORTOLAN_TEST_DATA";
  const Expected& expected = GetParam();
  const TemporaryDirectory out;
  const std::string result = out / "mapped.h5ad";
  const nlohmann::json report =
      server_->RunJson({"map", TestData("counts/split_kang_query_4donors.h5ad"), "--atlas",
                        expected.model, "--batch-key", "batch", "--strategy", expected.strategy,
                        "--epochs", "50", "--preset", "scvi", "--seed", "0", "-o", result});
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(report["notes"].size(), 0u) << report["notes"];
  EXPECT_EQ(ReadNumber(result, "max_abs_dz"), 0.0);
  EXPECT_NEAR(ReadNumber(result, "elbo"), expected.elbo, 1e-3 * std::abs(expected.elbo));

  const std::string reference = TestData("expected/kang_reference.h5ad");
  const double neighbours = NeighbourAccuracy(
      ReadObsm(result, "X_portolan"), ReadObs(result, "cell_type"),
      ReadObsm(reference, expected.reference), ReadCategorical(reference, "cell_type"));
  EXPECT_NEAR(neighbours, expected.neighbours, 0.01);
  RecordProperty("elbo", std::to_string(ReadNumber(result, "elbo")));
  RecordProperty("neighbours", std::to_string(neighbours));
  if (expected.classifier > 0) {
    EXPECT_NEAR(LabelAccuracy(result), expected.classifier, 0.01);
  }
}

class KangNewtonTest : public KangTest {
 protected:
  static nlohmann::json Map(const RunningServer& server, const std::string& result) {
    return server.RunJson({"map", TestData("counts/split_kang_query_4donors.h5ad"), "--atlas",
                           GetParam().model, "--batch-key", "batch", "--preset", "newton", "-o",
                           result});
  }
};

TEST_P(KangNewtonTest, AFewPassesDoWhatFiftyEpochsDo) {
  if (Missing()) GTEST_SKIP() << "the Kang data are not in PORTOLAN_TEST_DATA";
  const Expected& expected = GetParam();
  const TemporaryDirectory out;
  const std::string result = out / "mapped.h5ad";
  const nlohmann::json report = Map(*server_, result);
  ASSERT_FALSE(HasFailure());
  ASSERT_EQ(report["epochs"].size(), 4u);
  for (const auto& passes : report["epochs"]) EXPECT_LE(passes.get<int>(), 20);
  EXPECT_GE(ReadNumber(result, "elbo"), expected.elbo);
  const std::string reference = TestData("expected/kang_reference.h5ad");
  EXPECT_GE(NeighbourAccuracy(ReadObsm(result, "X_portolan"), ReadObs(result, "cell_type"),
                              ReadObsm(reference, expected.reference),
                              ReadCategorical(reference, "cell_type")),
            expected.neighbours - 0.01);

  RunningServer one_worker({.atlases = atlases_->path(), .workers = 1});
  const std::string again = out / "again.h5ad";
  Map(one_worker, again);
  EXPECT_EQ(one_worker.Stop(), 0);
  EXPECT_EQ(ReadObsm(again, "X_portolan").values, ReadObsm(result, "X_portolan").values);
}

INSTANTIATE_TEST_SUITE_P(FourDonors, KangNewtonTest,
                         testing::Values(Expected{"Scvi", "kang_scvi", "X_scvi", "independent",
                                                  kScviJointElbo, 0.8973, 0},
                                         Expected{"Scanvi", "kang_scanvi", "X_scanvi",
                                                  "independent", kScanviJointElbo, 0.9184, 0}),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(FourDonors, KangTest,
                         testing::Values(Expected{"ScviJoint", "kang_scvi", "X_scvi", "joint",
                                                  kScviJointElbo, 0.8979, 0},
                                         Expected{"ScviIndependent", "kang_scvi", "X_scvi",
                                                  "independent", kScviIndependentElbo, 0.8973, 0},
                                         Expected{"ScanviJoint", "kang_scanvi", "X_scanvi", "joint",
                                                  kScanviJointElbo, 0.9193, 0.9196},
                                         Expected{"ScanviIndependent", "kang_scanvi", "X_scanvi",
                                                  "independent", kScanviIndependentElbo, 0.9184,
                                                  0.9199}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace portolan::end_to_end
