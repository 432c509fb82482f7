#include "core/surgery/column_init.h"

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/match.h"
#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

std::vector<float> Column(const HostTensor& columns, int64_t batch) {
  const int64_t width = columns.shape()[1];
  return {columns.floats().begin() + batch * width, columns.floats().begin() + (batch + 1) * width};
}

bool IsLinear(const std::string& key) {
  return absl::EndsWith(key, ".weight") && !absl::StartsWith(key, "_embeddings_dict");
}

class InitialColumnsOfVariant : public testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model_ = LoadVariant(GetParam());
  TrainingCells query_ = QueryOf({{"q1", Range(0, 90)}, {"q2", Range(90, 200)}});
};

TEST_P(InitialColumnsOfVariant, LinearColumnsFillTheirBounds) {
  const auto state = StateDict(*model_).value();
  const bool one_batch = model_->description().architecture.n_batch == 1;
  int linear = 0;
  for (const auto& [key, columns] : InitialColumns(*model_, query_, 5)) {
    ASSERT_EQ(columns.shape().size(), 2u);
    EXPECT_EQ(columns.shape()[0], 2);
    if (!IsLinear(key)) continue;
    ++linear;
    EXPECT_EQ(columns.shape()[1], 16);
    // The inputs of the Linear once one batch has been added; one batch becomes two.
    const int64_t inputs = state.at(key).shape()[1] + (one_batch ? 2 : 1);
    const float bound = 1.0f / std::sqrt(static_cast<float>(inputs));
    float largest = 0;
    for (const float value : columns.floats()) largest = std::max(largest, std::abs(value));
    EXPECT_LE(largest, bound) << key;
    EXPECT_GT(largest, 0.8f * bound) << key;  // the largest of 32 uniform draws
  }
  EXPECT_EQ(linear > 0, !model_->description().architecture.batch_embedding);
}

TEST_P(InitialColumnsOfVariant, ABatchStartsAlikeAloneTogetherAndLater) {
  const auto together = InitialColumns(*model_, query_, 5);
  const auto alone = InitialColumns(*model_, QueryOf({{"q2", Range(90, 200)}}), 5);
  const auto extended = model_->Extend(RandomAdapter(*model_, {"earlier"})).value();
  const auto later = InitialColumns(*extended, QueryOf({{"q2", Range(90, 200)}}), 5);
  ASSERT_EQ(together.size(), alone.size());
  ASSERT_EQ(together.size(), later.size());
  for (const auto& [key, columns] : together) {
    EXPECT_EQ(Column(columns, 1), Column(alone.at(key), 0)) << key;
    EXPECT_EQ(Column(columns, 1), Column(later.at(key), 0)) << key;
  }
}

TEST_P(InitialColumnsOfVariant, LinearColumnsDifferByBatchSeedAndKey) {
  const auto one = InitialColumns(*model_, query_, 5);
  const auto other = InitialColumns(*model_, query_, 6);
  std::vector<std::vector<float>> seen;
  for (const auto& [key, columns] : one) {
    if (!IsLinear(key)) continue;
    for (const auto& column : {Column(columns, 0), Column(columns, 1), Column(other.at(key), 0)}) {
      for (const auto& earlier : seen) EXPECT_NE(column, earlier) << key;
      seen.push_back(column);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, InitialColumnsOfVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(InitialColumnsTest, TheLibraryPriorIsThatOfTheBatch) {
  const auto model = LoadVariant("scvi_latent_library");
  TrainingCells query = QueryOf({{"q1", Range(0, 90)}, {"q2", Range(90, 200)}});
  const auto columns = InitialColumns(*model, query, 5);
  for (int64_t batch = 0; batch < 2; ++batch) {
    std::vector<double> logs;
    for (int64_t row = batch == 0 ? 0 : 90; row < (batch == 0 ? 90 : 200); ++row) {
      double total = 0;
      for (const float count : query.counts.row_values(row)) total += count;
      logs.push_back(std::log(total));
    }
    double mean = 0;
    for (const double value : logs) mean += value / static_cast<double>(logs.size());
    double variance = 0;
    for (const double value : logs) {
      variance += (value - mean) * (value - mean) / static_cast<double>(logs.size());
    }
    EXPECT_NEAR(Column(columns.at("library_log_means"), batch)[0], mean, 1e-5);
    EXPECT_NEAR(Column(columns.at("library_log_vars"), batch)[0], variance, 1e-5);
  }
}

TEST(InitialColumnsTest, DispersionStartsAtTheMeanOfTheReference) {
  const auto model = LoadVariant("scvi_nb_genebatch");
  const HostTensor px_r = StateDict(*model).value().at("px_r");  // (genes, 2)
  const auto check = [&](const Model& parent) {
    const auto columns = InitialColumns(parent, QueryOf({{"q", Range(0, 50)}}), 5);
    const std::vector<float> got = Column(columns.at("px_r"), 0);
    ASSERT_EQ(got.size(), 64u);
    for (size_t gene = 0; gene < got.size(); ++gene) {
      EXPECT_NEAR(got[gene], (px_r.floats()[2 * gene] + px_r.floats()[2 * gene + 1]) / 2, 1e-6);
    }
  };
  check(*model);
  // Batches of extensions do not count.
  check(*model->Extend(RandomAdapter(*model, {"earlier"})).value());
}

TEST(InitialColumnsTest, ColumnsGoOnlyWhereTheModelSeesTheBatch) {
  const auto keys = [](const std::string& variant) {
    std::vector<std::string> names;
    const auto columns = InitialColumns(*LoadVariant(variant), QueryOf({{"q", Range(0, 10)}}), 1);
    for (const auto& entry : columns) names.push_back(entry.first);
    return names;
  };
  const std::string decoder = "decoder.px_decoder.fc_layers.Layer 0.0.weight";
  const std::string encoder = "z_encoder.encoder.fc_layers.Layer 0.0.weight";
  EXPECT_EQ(keys("scvi_zinb_batchnorm"), (std::vector<std::string>{decoder}));
  EXPECT_EQ(keys("scvi_poisson"), (std::vector<std::string>{decoder, encoder}));
  EXPECT_EQ(keys("scvi_shallow_inject"), (std::vector<std::string>{decoder, encoder}));
  EXPECT_EQ(keys("scvi_bn_ln_encoded"),
            (std::vector<std::string>{decoder, "decoder.px_decoder.fc_layers.Layer 1.0.weight",
                                      encoder, "z_encoder.encoder.fc_layers.Layer 1.0.weight"}));
  EXPECT_EQ(keys("scvi_nb_genebatch"), (std::vector<std::string>{decoder, "px_r", encoder}));
}

}  // namespace
}  // namespace portolan
