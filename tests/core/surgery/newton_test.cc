#include "core/surgery/newton.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/surgery/trainer.h"
#include "core/surgery/training_session.h"
#include "tests/core/base/idle_threads.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

TrainOptions Newton() {
  TrainOptions options = PresetOptions(Preset::kNewton, 200);
  options.newton->min_gain = 0;
  return options;
}

double MeanElbo(const Model& model, const TrainingCells& query, const TrainResult& result) {
  const auto extended = model.Extend(result.extension).value();
  std::vector<int32_t> codes = query.batch_codes;
  const auto known = static_cast<int32_t>(model.description().batches.categories.size());
  for (int32_t& code : codes) code += known;
  CellNoise noise(3, query);
  double sum = 0;
  for (const double term :
       NegativeElbo(*extended, CellInputs{query.counts, codes}, noise, CancelToken()).value()) {
    sum -= term;
  }
  return sum / static_cast<double>(query.cells());
}

class NewtonTest : public testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model_ = LoadVariant(GetParam());
  TrainingCells query_ = QueryOf({{"q1", Range(0, 90)}, {"q2", Range(90, 200)}});
};

TEST_P(NewtonTest, PassesGainWhatEpochsGain) {
  const TrainResult newton = Train(*model_, query_, Newton(), {}).value();
  TrainOptions adam = PresetOptions(Preset::kScvi, 200);
  adam.max_epochs = 5;
  const TrainResult epochs = Train(*model_, query_, adam, {}).value();
  EXPECT_LE(newton.epochs, 20);
  EXPECT_EQ(newton.train_loss.size(), static_cast<size_t>(newton.epochs));
  EXPECT_LT(newton.train_loss.back(), newton.train_loss.front());
  EXPECT_GT(MeanElbo(*model_, query_, newton), MeanElbo(*model_, query_, epochs));
}

TEST_P(NewtonTest, AStopAndResumeGivesTheSameBits) {
  const TrainResult whole = Train(*model_, query_, Newton(), {}).value();
  for (const int stop_after : {1, 4, 7}) {
    std::optional<TensorBundle> last;
    TrainHooks hooks;
    hooks.on_checkpoint = [&](const TensorBundle& bundle) { last = bundle; };
    hooks.on_epoch = [&](const TrainProgress& progress) {
      if (progress.epoch == stop_after) hooks.cancel.Cancel();
    };
    EXPECT_EQ(Train(*model_, query_, Newton(), hooks).status().code(),
              absl::StatusCode::kCancelled);
    TrainHooks again;
    again.resume_from = last;
    const TrainResult resumed = Train(*model_, query_, Newton(), again).value();
    EXPECT_EQ(BytesOf(resumed.extension), BytesOf(whole.extension)) << stop_after;
    EXPECT_EQ(resumed.train_loss, whole.train_loss) << stop_after;
    EXPECT_EQ(resumed.stop_reason, whole.stop_reason);
  }
}

TEST_P(NewtonTest, AnyNumberOfThreadsGivesTheSameBits) {
  const TrainResult alone = Train(*model_, query_, Newton(), {}).value();
  for (const int n : {2, 5}) {
    IdleThreads threads(n);
    TrainHooks hooks;
    hooks.executor = &threads;
    const TrainResult shared = Train(*model_, query_, Newton(), hooks).value();
    EXPECT_EQ(BytesOf(shared.extension), BytesOf(alone.extension)) << n;
    EXPECT_EQ(shared.train_loss, alone.train_loss) << n;
  }
}

TEST_P(NewtonTest, ADamagedCheckpointIsRefused) {
  std::optional<TensorBundle> last;
  TrainHooks hooks;
  hooks.checkpoint_due = [] { return true; };
  hooks.on_checkpoint = [&](const TensorBundle& bundle) { last = bundle; };
  ASSERT_TRUE(Train(*model_, query_, Newton(), hooks).ok());
  ASSERT_TRUE(last.has_value());
  for (const char* name :
       {"newton/loss", "newton/gradient", "newton/steps", "newton/changes", "newton/losses"}) {
    TrainHooks again;
    again.resume_from = last;
    again.resume_from->tensors.erase(name);
    EXPECT_EQ(Train(*model_, query_, Newton(), again).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, NewtonTest,
                         testing::Values("scvi_nb_genebatch", "scvi_poisson",
                                         "scanvi_ln_encoder_only"),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(NewtonOptionsTest, WeightDecayIsRefused) {
  TrainOptions options = Newton();
  options.adam.weight_decay = 1e-6;
  const auto model = LoadVariant("scvi_poisson");
  EXPECT_EQ(Train(*model, QueryOf({{"q", Range(0, 60)}}), options, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portolan
