#include "core/surgery/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/field_error.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;

TrainOptions Short() {
  TrainOptions options = PresetOptions(Preset::kScvi, 200);
  options.max_epochs = 3;
  options.minibatch = 32;
  options.seed = 4;
  return options;
}

TrainingCells Query() { return QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}}); }

class TrainVariant : public testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model_ = LoadVariant(GetParam());
  TrainingCells query_ = QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}}, *model_);
};

TEST_P(TrainVariant, GivesTheSameBytesAgain) {
  TrainOptions options = Short();
  options.freeze.freeze_dropout = false;
  options.early_stopping = EarlyStoppingOptions{};
  const TrainResult one = Train(*model_, query_, options, {}).value();
  const TrainResult other = Train(*model_, query_, options, {}).value();
  EXPECT_EQ(BytesOf(one.extension), BytesOf(other.extension));
  EXPECT_EQ(one.train_loss, other.train_loss);
  EXPECT_EQ(one.validation_elbo, other.validation_elbo);
  options.seed = 5;
  const TrainResult third = Train(*model_, query_, options, {}).value();
  EXPECT_NE(BytesOf(one.extension), BytesOf(third.extension));
  EXPECT_NE(one.train_loss, third.train_loss);
}

TEST_P(TrainVariant, LowersTheLoss) {
  TrainOptions options = Short();
  options.max_epochs = 40;
  options.kl_weight = 1.0;
  options.adam.learning_rate = 1e-2;
  const TrainResult result = Train(*model_, query_, options, {}).value();
  ASSERT_EQ(result.train_loss.size(), 40u);
  EXPECT_LT(result.train_loss.back(), result.train_loss.front());
}

TEST_P(TrainVariant, ReportsEpochsStepsAndProgress) {
  std::vector<TrainProgress> progress;
  TrainHooks hooks;
  hooks.on_epoch = [&](const TrainProgress& p) { progress.push_back(p); };
  const TrainResult result = Train(*model_, query_, Short(), hooks).value();
  EXPECT_EQ(result.epochs, 3);
  EXPECT_EQ(result.steps, 3 * 6);  // 180 cells train in minibatches of 32
  EXPECT_EQ(result.stop_reason, "epochs");
  EXPECT_TRUE(result.validation_elbo.empty());
  ASSERT_EQ(progress.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(progress[i].epoch, i + 1);
    EXPECT_EQ(progress[i].max_epochs, 3);
    EXPECT_EQ(progress[i].loss, result.train_loss[i]);
    EXPECT_TRUE(std::isfinite(progress[i].loss));
  }
  EXPECT_EQ(result.extension.batches, query_.batches);
}

TEST_P(TrainVariant, ABatchTrainsAlikeOnTheReferenceAndOnAnAdaptedVersion) {
  const TrainOptions options = Short();
  const TrainingCells later = QueryOf({{"later", Range(50, 150)}}, *model_);
  const TrainResult first = Train(*model_, query_, options, {}).value();
  if (!first.extension.is_adapter()) GTEST_SKIP() << "a full delta changes what others see";
  const auto version = model_->Extend(first.extension).value();
  EXPECT_EQ(BytesOf(Train(*version, later, options, {}).value().extension),
            BytesOf(Train(*model_, later, options, {}).value().extension));
}

INSTANTIATE_TEST_SUITE_P(Variants, TrainVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

class TrainTest : public testing::Test {
 protected:
  std::shared_ptr<const Model> model_ = LoadVariant("scvi_poisson");
  TrainingCells query_ = Query();
};

class LabelledRun : public testing::Test {
 protected:
  LabelledRun() {
    cells_.annotations.labels = LabelsFor(*model_);
    options_.freeze.freeze_batchnorm_decoder = true;
  }

  std::shared_ptr<const Model> model_ = LoadVariant("scanvi_linear_classifier");
  TrainingCells cells_ = QueryOf({{"q", Range(0, 200)}}, *model_);
  TrainOptions options_ = Short();
};

TEST_F(LabelledRun, LabelsPullTheNewColumns) {
  const TrainResult labelled = Train(*model_, cells_, options_, {}).value();
  TrainingCells unlabelled = cells_;
  unlabelled.annotations.labels.clear();
  const TrainResult plain = Train(*model_, unlabelled, options_, {}).value();
  EXPECT_TRUE(labelled.extension.is_adapter());
  EXPECT_NE(BytesOf(labelled.extension), BytesOf(plain.extension));
  EXPECT_GT(labelled.train_loss[0], plain.train_loss[0]);  // the classification loss comes on top
  // Cells of the unlabelled category are as if no labels had been given.
  unlabelled.annotations.labels.assign(200, -1);
  EXPECT_EQ(BytesOf(Train(*model_, unlabelled, options_, {}).value().extension),
            BytesOf(plain.extension));
}

TEST_F(LabelledRun, ATrainedClassifierLearnsTheLabels) {
  options_.max_epochs = 30;
  options_.adam.learning_rate = 1e-2;
  options_.freeze.freeze_classifier = false;
  // Labels that the reference contradicts: every cell is of the first.
  cells_.annotations.labels.assign(200, 0);
  const TrainResult result = Train(*model_, cells_, options_, {}).value();
  EXPECT_FALSE(result.extension.is_adapter());
  const auto version = model_->Extend(result.extension).value();
  const std::vector<int32_t> codes(200, version->BatchCode("q"));
  const Embedding z = Encode(*version, {cells_.counts, codes}, CancelToken()).value();
  int first = 0;
  for (int cell = 0; cell < 200; ++cell) {
    const float* p = z.probabilities.data() + 3 * cell;
    first += p[0] > p[1] && p[0] > p[2] ? 1 : 0;
  }
  EXPECT_GT(first, 190);
}

TEST_F(LabelledRun, ALoneLabelledCellIsTooFew) {
  TrainingCells one = cells_;
  one.annotations.labels.assign(200, -1);
  const std::string none = BytesOf(Train(*model_, one, options_, {}).value().extension);
  one.annotations.labels[7] = 1;
  EXPECT_EQ(BytesOf(Train(*model_, one, options_, {}).value().extension), none);
}

TEST_F(TrainTest, NothingDependsOnTheOrderOfBatchesInDisjointRuns) {
  // Trained alone, a batch gets the same adapter whichever run comes first.
  const TrainingCells one = QueryOf({{"q1", Range(0, 110)}});
  const TrainingCells two = QueryOf({{"q2", Range(110, 200)}});
  const Extension a = Train(*model_, one, Short(), {}).value().extension;
  const Extension b = Train(*model_, two, Short(), {}).value().extension;
  const Extension b_again = Train(*model_->Extend(a).value(), two, Short(), {}).value().extension;
  EXPECT_EQ(BytesOf(b), BytesOf(b_again));
}

TEST_F(TrainTest, EarlyStoppingEndsTheRun) {
  TrainOptions options = Short();
  options.max_epochs = 50;
  options.early_stopping = EarlyStoppingOptions{.patience = 3, .min_delta = 1e9};
  const TrainResult result = Train(*model_, query_, options, {}).value();
  EXPECT_EQ(result.epochs, 4);
  EXPECT_EQ(result.stop_reason, "early stopping");
  EXPECT_EQ(result.validation_elbo.size(), 4u);
  EXPECT_EQ(result.train_loss.size(), 4u);
  for (const double elbo : result.validation_elbo) EXPECT_LT(elbo, 0);
}

TEST_F(TrainTest, TheHlcaPresetWatchesTheTrainingElbo) {
  TrainOptions options = PresetOptions(Preset::kHlca, 200);
  options.max_epochs = 50;
  options.early_stopping->min_delta = 1e9;
  options.early_stopping->patience = 2;
  const TrainResult result = Train(*model_, query_, options, {}).value();
  EXPECT_EQ(result.epochs, 3);
  EXPECT_EQ(result.steps, 6);  // all 200 cells in minibatches of 128
  EXPECT_TRUE(result.validation_elbo.empty());
}

TEST_F(TrainTest, ThePlateauScheduleSlowsTraining) {
  TrainOptions options = Short();
  options.max_epochs = 4;
  const TrainResult plain = Train(*model_, query_, options, {}).value();
  options.plateau = PlateauOptions{.factor = 1e-3, .patience = 1, .threshold = 1e9};
  const TrainResult slowed = Train(*model_, query_, options, {}).value();
  // Epoch 1 is the best, 2 and 3 are bad: the fourth is the first at the lower rate.
  for (int epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(plain.train_loss[epoch], slowed.train_loss[epoch]) << epoch;
  }
  EXPECT_NE(BytesOf(plain.extension), BytesOf(slowed.extension));
}

TEST_F(TrainTest, ACancelIsObeyedBeforeTheNextMinibatch) {
  TrainHooks hooks;
  int steps = 0;
  hooks.checkpoint_due = [&] {
    if (++steps == 8) hooks.cancel.Cancel();
    return false;
  };
  int checkpoints = 0;
  hooks.on_checkpoint = [&](const TensorBundle&) { ++checkpoints; };
  const auto result = Train(*model_, query_, Short(), hooks);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(steps, 8);
  EXPECT_EQ(checkpoints, 1);
}

TEST_F(TrainTest, ExtremeCountsAbort) {
  for (float& value : query_.counts.values) value = 3e38f;
  const auto result = Train(*model_, query_, Short(), {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kAborted) << result.status();
}

TEST_F(TrainTest, EmptyCellsTrain) {
  TrainingCells query = query_;
  query.counts = ToCsr(200, 64, std::vector<float>(200 * 64));
  for (const char* variant : {"scvi_poisson", "scvi_zinb_batchnorm", "scvi_nb_genebatch"}) {
    const auto result = Train(*LoadVariant(variant), query, Short(), {});
    ASSERT_TRUE(result.ok()) << variant << ": " << result.status();
    for (const auto& [key, columns] : result->extension.columns) {
      for (const float value : columns.floats()) ASSERT_TRUE(std::isfinite(value)) << key;
    }
  }
}

struct WrongOption {
  const char* field;
  std::function<void(TrainOptions&)> edit;
};

TEST_F(TrainTest, WrongOptionsAreNamed) {
  const double nan = std::nan("");
  const WrongOption wrong[] = {
      {"epochs", [](auto& o) { o.max_epochs = 0; }},
      {"epochs", [](auto& o) { o.max_epochs = -3; }},
      {"minibatch", [](auto& o) { o.minibatch = 1; }},
      {"minibatch", [](auto& o) { o.minibatch = -128; }},
      {"learning_rate", [](auto& o) { o.adam.learning_rate = 0; }},
      {"learning_rate", [](auto& o) { o.adam.learning_rate = 1; }},
      {"learning_rate", [nan](auto& o) { o.adam.learning_rate = nan; }},
      {"weight_decay", [](auto& o) { o.adam.weight_decay = -1e-6; }},
      {"weight_decay", [nan](auto& o) { o.adam.weight_decay = nan; }},
      {"train_share", [](auto& o) { o.train_share = 0; }},
      {"train_share", [](auto& o) { o.train_share = 1.5; }},
      {"train_share", [nan](auto& o) { o.train_share = nan; }},
  };
  for (const WrongOption& option : wrong) {
    TrainOptions options = Short();
    option.edit(options);
    const absl::Status status = Train(*model_, query_, options, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << option.field;
    ASSERT_TRUE(GetFieldViolation(status).has_value()) << option.field;
    EXPECT_EQ(GetFieldViolation(status)->field, option.field);
    EXPECT_FALSE(GetFieldViolation(status)->remedy.empty());
  }
}

TEST_F(TrainTest, ARunWithoutCellsIsRefused) {
  const absl::Status status = Train(*model_, QueryOf({}), Short(), {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

}  // namespace
}  // namespace portolan
