#include "core/surgery/options.h"

#include <gtest/gtest.h>

namespace portolan {
namespace {

TEST(DefaultEpochsTest, IsScviToolsFormula) {
  EXPECT_EQ(DefaultEpochs(1), 400);
  EXPECT_EQ(DefaultEpochs(20000), 400);
  EXPECT_EQ(DefaultEpochs(20024), 400);  // 399.52
  EXPECT_EQ(DefaultEpochs(20051), 399);  // 398.98
  EXPECT_EQ(DefaultEpochs(40000), 200);
  EXPECT_EQ(DefaultEpochs(584944), 14);  // 13.68
  EXPECT_EQ(DefaultEpochs(8'000'000), 1);
  EXPECT_EQ(DefaultEpochs(1'000'000'000), 1);
  EXPECT_EQ(DefaultEpochs(0), 1);
}

TEST(DefaultEpochsTest, TiesGoToTheEvenNumber) {
  EXPECT_EQ(DefaultEpochs(25600), 312);     // 312.5
  EXPECT_EQ(DefaultEpochs(128000), 62);     // 62.5
  EXPECT_EQ(DefaultEpochs(640000), 12);     // 12.5
  EXPECT_EQ(DefaultEpochs(3'200'000), 2);   // 2.5
  EXPECT_EQ(DefaultEpochs(16'000'000), 1);  // 0.5 rounds to 0, the least is 1
  EXPECT_EQ(DefaultEpochs(127999), 63);     // just above the tie
}

TEST(PresetOptionsTest, Scvi) {
  const TrainOptions options = PresetOptions(Preset::kScvi, 40000);
  EXPECT_EQ(options.max_epochs, 200);
  EXPECT_EQ(options.minibatch, 128);
  EXPECT_EQ(options.train_share, 0.9);
  EXPECT_EQ(options.kl_warmup_epochs, 400);
  EXPECT_FALSE(options.kl_weight.has_value());
  EXPECT_TRUE(options.freeze.freeze_dropout);
  EXPECT_FALSE(options.freeze.unfrozen);
  EXPECT_EQ(options.adam.learning_rate, 1e-3);
  EXPECT_EQ(options.adam.epsilon, 0.01);
  EXPECT_EQ(options.adam.weight_decay, 0);
  EXPECT_FALSE(options.early_stopping.has_value());
  EXPECT_FALSE(options.plateau.has_value());
}

TEST(PresetOptionsTest, Hlca) {
  const TrainOptions options = PresetOptions(Preset::kHlca, 40000);
  EXPECT_EQ(options.max_epochs, 500);
  EXPECT_EQ(options.train_share, 1.0);
  EXPECT_TRUE(options.freeze.freeze_dropout);
  EXPECT_EQ(options.adam.learning_rate, 1e-3);
  EXPECT_EQ(options.adam.weight_decay, 0);
  ASSERT_TRUE(options.early_stopping.has_value());
  EXPECT_EQ(options.early_stopping->patience, 10);
  EXPECT_EQ(options.early_stopping->min_delta, 0.001);
  ASSERT_TRUE(options.plateau.has_value());
  EXPECT_EQ(options.plateau->factor, 0.1);
  EXPECT_EQ(options.plateau->patience, 8);
}

TEST(PresetNameTest, EachHasItsOwn) {
  EXPECT_EQ(PresetName(Preset::kScvi), "scvi");
  EXPECT_EQ(PresetName(Preset::kHlca), "hlca");
}

}  // namespace
}  // namespace portolan
