#include "core/surgery/protein_prior.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/model/model_fixtures.h"
#include "tests/core/totalvi/protein_fixtures.h"

namespace portolan {
namespace {

TEST(LowerComponentTest, SeparatesTwoHeapsWhateverTheOrder) {
  const std::vector<double> values = {1.0, 5.0, 1.2, 5.4, 0.8, 5.2, 1.1, 4.9};
  const Component lower = LowerComponent(values);
  EXPECT_NEAR(lower.mean, 1.025, 1e-3);
  EXPECT_NEAR(lower.variance, 0.0219, 1e-3);
  const Component again = LowerComponent({values.rbegin(), values.rend()});
  EXPECT_EQ(again.mean, lower.mean);
  EXPECT_EQ(again.variance, lower.variance);
}

TEST(LowerComponentTest, WithoutTwoDifferentValuesIsScviToolsDefault) {
  for (const std::vector<double>& values :
       {std::vector<double>{}, std::vector<double>{3}, std::vector<double>(9, 0.0)}) {
    EXPECT_EQ(LowerComponent(values).mean, 0);
    EXPECT_NEAR(std::sqrt(LowerComponent(values).variance), 0.05, 1e-12);
  }
}

TEST(LowerComponentTest, StaysFiniteWhereAHeapIsASinglePoint) {
  const Component lower = LowerComponent({0, 0, 0, 0, 7});
  EXPECT_NEAR(lower.mean, 0, 1e-9);
  EXPECT_GT(lower.variance, 0);
}

TEST(MeasuredProteinsTest, IsThePanelWithoutWhatHasNoCount) {
  TrainingCells query =
      ProteinQuery({{"q1", Range(0, 100), PanelWithout({2, 7})}, {"q2", Range(100, 200), {}}});
  EXPECT_EQ(MeasuredProteins(query, 0, 12), PanelWithout({2, 7}));
  EXPECT_EQ(MeasuredProteins(query, 1, 12), PanelWithout({}));
  for (int64_t row = 100; row < 200; ++row) query.proteins.values[row * 12 + 4] = 0;
  EXPECT_EQ(MeasuredProteins(query, 0, 12), PanelWithout({2, 7}));
  EXPECT_EQ(MeasuredProteins(query, 1, 12), PanelWithout({4}));
  query.proteins = {};
  EXPECT_EQ(MeasuredProteins(query, 0, 12), std::vector<uint8_t>(12, 0));
}

TEST(EmpiricalBackgroundTest, IsABatchsOwn) {
  const TrainingCells one = ProteinQuery({{"q1", Range(0, 100), {}}});
  const TrainingCells two = ProteinQuery({{"q2", Range(100, 200), {}}, {"q1", Range(0, 100), {}}});
  const auto prior = EmpiricalBackground(one, 0, PanelWithout({}), 3);
  const auto same = EmpiricalBackground(two, 1, PanelWithout({}), 3);
  ASSERT_TRUE(prior.has_value() && same.has_value());
  EXPECT_EQ(prior->mean, same->mean);
  EXPECT_EQ(prior->log_std, same->log_std);
  EXPECT_GT(prior->mean, 0.5f);  // background counts of a few
  EXPECT_LT(prior->mean, 3.0f);
  EXPECT_LT(prior->log_std, 0);
  EXPECT_NE(EmpiricalBackground(one, 0, PanelWithout({}), 4)->mean, prior->mean);
}

TEST(EmpiricalBackgroundTest, NeedsFiveProteins) {
  const TrainingCells query = ProteinQuery({{"q", Range(0, 100), {}}});
  EXPECT_TRUE(EmpiricalBackground(query, 0, PanelWithout({0, 1, 2, 3, 4, 5, 6}), 1).has_value());
  EXPECT_FALSE(
      EmpiricalBackground(query, 0, PanelWithout({0, 1, 2, 3, 4, 5, 6, 7}), 1).has_value());
}

}  // namespace
}  // namespace portolan
