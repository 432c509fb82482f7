#include "core/surgery/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace portolan {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(KlWeightTest, ClimbsFromZeroToOneOverTheWarmUp) {
  TrainOptions options;
  options.kl_warmup_epochs = 400;
  EXPECT_EQ(KlWeight(options, 0), 0.0f);
  EXPECT_EQ(KlWeight(options, 1), 0.0025f);
  EXPECT_EQ(KlWeight(options, 100), 0.25f);
  EXPECT_EQ(KlWeight(options, 399), static_cast<float>(399.0 / 400));
  EXPECT_EQ(KlWeight(options, 400), 1.0f);
  EXPECT_EQ(KlWeight(options, 100000), 1.0f);
}

TEST(KlWeightTest, IsConstantWithoutAWarmUpOrWhenGiven) {
  TrainOptions options;
  options.kl_warmup_epochs = 0;
  EXPECT_EQ(KlWeight(options, 0), 1.0f);
  options.kl_warmup_epochs = 400;
  options.kl_weight = 0.3;
  for (const int epoch : {0, 200, 400}) EXPECT_EQ(KlWeight(options, epoch), 0.3f);
  options.kl_weight = 0.0;
  EXPECT_EQ(KlWeight(options, 400), 0.0f);
}

// The 1-based epoch after which training stops; 0 if it does not.
int StopEpoch(const EarlyStoppingOptions& options, const std::vector<double>& losses) {
  EarlyStopping stopping;
  for (size_t i = 0; i < losses.size(); ++i) {
    if (stopping.Update(options, losses[i])) return static_cast<int>(i) + 1;
  }
  return 0;
}

TEST(EarlyStoppingTest, StopsAfterPatienceEpochsWithoutAGain) {
  EXPECT_EQ(StopEpoch({.patience = 3}, {5, 4, 4, 4, 4, 4}), 5);
  EXPECT_EQ(StopEpoch({.patience = 1}, {5, 5}), 2);
  EXPECT_EQ(StopEpoch({.patience = 3}, {5, 6, 7, 4, 6, 7, 8}), 7);
  EXPECT_EQ(StopEpoch({.patience = 45}, std::vector<double>(45, 1.0)), 0);
  EXPECT_EQ(StopEpoch({.patience = 45}, std::vector<double>(46, 1.0)), 46);
}

TEST(EarlyStoppingTest, AGainMustExceedTheLeastDifference) {
  EXPECT_EQ(StopEpoch({.patience = 2, .min_delta = 1}, {10, 9.5, 9.25}), 3);
  EXPECT_EQ(StopEpoch({.patience = 2, .min_delta = 1}, {10, 9, 9}), 3);  // by 1: not more than 1
  EXPECT_EQ(StopEpoch({.patience = 2, .min_delta = 1}, {10, 8.5, 7, 5.5}), 0);
  // Small gains add up against the best, which they do not move.
  EXPECT_EQ(StopEpoch({.patience = 3, .min_delta = 1}, {10, 9.5, 8.5, 8, 7}), 0);
}

TEST(EarlyStoppingTest, StopsAtALossThatIsNotFinite) {
  EXPECT_EQ(StopEpoch({.patience = 10}, {5, kNan, 4}), 2);
  EXPECT_EQ(StopEpoch({.patience = 10}, {5, kInfinity, 4}), 2);
  EXPECT_EQ(StopEpoch({.patience = 10}, {5, -kInfinity, 4}), 2);
}

// Learning rate after each epoch.
std::vector<double> Rates(const PlateauOptions& options, double rate,
                          const std::vector<double>& losses) {
  PlateauSchedule schedule;
  schedule.learning_rate = rate;
  std::vector<double> rates;
  for (const double loss : losses) {
    schedule.Update(options, loss);
    rates.push_back(schedule.learning_rate);
  }
  return rates;
}

TEST(PlateauScheduleTest, ReducesOnTheThirtyFirstEpochWithoutImprovement) {
  const auto rates = Rates({.factor = 0.5, .patience = 30}, 1.0, std::vector<double>(95, 7.0));
  // Epoch 1 is the best so far; 2 to 31 are bad; 32 is the 31st bad one.
  for (int epoch = 1; epoch <= 95; ++epoch) {
    const double want = epoch < 32 ? 1.0 : epoch < 63 ? 0.5 : epoch < 94 ? 0.25 : 0.125;
    EXPECT_EQ(rates[epoch - 1], want) << "epoch " << epoch;
  }
}

TEST(PlateauScheduleTest, AnImprovementStartsTheCountAgain) {
  EXPECT_EQ(Rates({.factor = 0.1, .patience = 1}, 1.0, {5, 6, 4, 6, 3, 3, 3}),
            (std::vector<double>{1, 1, 1, 1, 1, 1, 0.1}));
}

TEST(PlateauScheduleTest, TheThresholdIsAbsoluteAndExclusive) {
  const PlateauOptions options = {.factor = 0.5, .patience = 0, .threshold = 1};
  EXPECT_EQ(Rates(options, 1.0, {10, 8.5, 7.5, 6.5}), (std::vector<double>{1, 1, 0.5, 0.5}));
}

TEST(PlateauScheduleTest, StopsAtTheLeastRateAndIgnoresTinySteps) {
  EXPECT_EQ(Rates({.factor = 0.1, .patience = 0, .min_learning_rate = 0.05}, 1.0, {1, 1, 1, 1}),
            (std::vector<double>{1, 0.1, 0.05, 0.05}));
  EXPECT_EQ(Rates({.factor = 0.5, .patience = 0}, 1.5e-8, {1, 1, 1}),
            (std::vector<double>{1.5e-8, 1.5e-8, 1.5e-8}));
}

TEST(PlateauScheduleTest, ANanIsNoImprovement) {
  EXPECT_EQ(Rates({.factor = 0.5, .patience = 0}, 1.0, {3, kNan, 2}),
            (std::vector<double>{1, 0.5, 0.5}));
}

}  // namespace
}  // namespace portolan
