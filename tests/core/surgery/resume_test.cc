#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "core/base/field_error.h"
#include "core/surgery/trainer.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

struct ResumeCase {
  std::string name;
  std::string variant;
  TrainOptions options;
};

TrainOptions Short() {
  TrainOptions options = PresetOptions(Preset::kScvi, 200);
  options.max_epochs = 4;
  options.minibatch = 32;
  options.seed = 4;
  return options;
}

std::vector<ResumeCase> Cases() {
  TrainOptions watched = PresetOptions(Preset::kHlca, 200);
  watched.max_epochs = 6;
  watched.minibatch = 48;
  // The rate falls and the run ends while it is watched.
  watched.plateau->patience = 0;
  watched.plateau->threshold = 1e9;
  watched.early_stopping->patience = 4;
  watched.early_stopping->min_delta = 1e9;
  // Here both turn on the exact ELBO of every epoch.
  TrainOptions close = watched;
  close.plateau->threshold = 0;
  close.early_stopping->patience = 1;
  close.early_stopping->min_delta = 0;
  TrainOptions validated = Short();
  validated.early_stopping = EarlyStoppingOptions{.patience = 2, .min_delta = 1e9};
  validated.plateau = PlateauOptions{.factor = 0.5, .patience = 0, .threshold = 1e9};
  TrainOptions dropout = Short();
  dropout.freeze.freeze_dropout = false;
  TrainOptions decayed = Short();
  decayed.adam.weight_decay = 1e-3;
  TrainOptions unfrozen = Short();
  unfrozen.freeze.unfrozen = true;
  TrainOptions moved = Short();
  moved.freeze.scvi_columns = true;
  return {{"plain", "scvi_poisson", Short()},
          {"labels", "scanvi_ln_encoder_only", Short()},
          {"batch_norm", "scvi_zinb_batchnorm", Short()},
          {"batch_norm_with_labels", "scanvi_batchnorm", Short()},
          {"latent_library", "scvi_latent_library_batchnorm", Short()},
          {"hlca", "scvi_nb_genebatch", watched},
          {"hlca_close", "scvi_poisson", close},
          {"hlca_batch_norm", "scvi_zinb_batchnorm", watched},
          {"validated", "scvi_bn_ln_encoded", validated},
          {"dropout", "scvi_shallow_inject", dropout},
          {"weight_decay", "scvi_one_batch", decayed},
          {"unfrozen", "scvi_nb_genebatch", unfrozen},
          {"moved_columns", "scvi_covariates", moved}};
}

// SCANVI's cells come with their labels.
TrainingCells LabelledQuery(const Model& model) {
  TrainingCells query = QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}}, model);
  if (model.description().model_class == ModelClass::kScanvi) {
    query.annotations.labels = LabelsFor(model);
  }
  return query;
}

class ResumeTest : public testing::TestWithParam<ResumeCase> {
 protected:
  // Cancels after `minibatches` and returns the checkpoint, as it comes back from a store.
  std::optional<TensorBundle> CancelAfter(int minibatches,
                                          const std::optional<TensorBundle>& from) {
    TrainHooks hooks;
    hooks.resume_from = from;
    hooks.checkpoint_due = [&hooks, left = minibatches]() mutable {
      if (--left == 0) hooks.cancel.Cancel();
      return false;
    };
    std::optional<std::string> bytes;
    hooks.on_checkpoint = [&](const TensorBundle& bundle) { bytes = SerializeBundle(bundle); };
    const auto result = Train(*model_, query_, GetParam().options, hooks);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    if (!bytes.has_value()) return std::nullopt;
    return ParseBundle(*bytes).value();
  }

  void ExpectSame(const TrainResult& got, const TrainResult& want) {
    EXPECT_EQ(BytesOf(got.extension), BytesOf(want.extension));
    EXPECT_EQ(got.train_loss, want.train_loss);
    EXPECT_EQ(got.validation_elbo, want.validation_elbo);
    EXPECT_EQ(got.epochs, want.epochs);
    EXPECT_EQ(got.steps, want.steps);
    EXPECT_EQ(got.stop_reason, want.stop_reason);
  }

  std::shared_ptr<const Model> model_ = LoadVariant(GetParam().variant);
  TrainingCells query_ = LabelledQuery(*model_);
};

TEST_P(ResumeTest, AnywhereInAnEpochGivesTheSameBits) {
  const TrainResult whole = Train(*model_, query_, GetParam().options, {}).value();
  for (const int minibatches : {1, 4, 5, 6, 9, 13}) {
    TrainHooks hooks;
    hooks.resume_from = CancelAfter(minibatches, std::nullopt);
    ASSERT_TRUE(hooks.resume_from.has_value());
    ExpectSame(Train(*model_, query_, GetParam().options, hooks).value(), whole);
  }
}

TEST_P(ResumeTest, AgainAndAgainGivesTheSameBits) {
  const TrainResult whole = Train(*model_, query_, GetParam().options, {}).value();
  std::optional<TensorBundle> checkpoint;
  for (int i = 0; i < 4; ++i) {
    checkpoint = CancelAfter(3, checkpoint);
    ASSERT_TRUE(checkpoint.has_value());
  }
  TrainHooks hooks;
  hooks.resume_from = checkpoint;
  ExpectSame(Train(*model_, query_, GetParam().options, hooks).value(), whole);
}

TEST_P(ResumeTest, CheckpointsOnTheWayChangeNothingAndAllResume) {
  const TrainResult whole = Train(*model_, query_, GetParam().options, {}).value();
  std::vector<TensorBundle> checkpoints;
  TrainHooks hooks;
  hooks.checkpoint_due = [] { return true; };
  hooks.on_checkpoint = [&](const TensorBundle& bundle) { checkpoints.push_back(bundle); };
  ExpectSame(Train(*model_, query_, GetParam().options, hooks).value(), whole);
  ASSERT_EQ(static_cast<int64_t>(checkpoints.size()), whole.steps);
  // The last of an epoch and the very last among them.
  for (const size_t i : {size_t{0}, checkpoints.size() / 2, checkpoints.size() - 1}) {
    TrainHooks resumed;
    resumed.resume_from = checkpoints[i];
    ExpectSame(Train(*model_, query_, GetParam().options, resumed).value(), whole);
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, ResumeTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

class ForeignCheckpointTest : public testing::Test {
 protected:
  TensorBundle CheckpointOf(const Model& model, const TrainingCells& query,
                            const TrainOptions& options) {
    TensorBundle checkpoint;
    TrainHooks hooks;
    hooks.checkpoint_due = [] { return true; };
    hooks.on_checkpoint = [&](const TensorBundle& bundle) { checkpoint = bundle; };
    EXPECT_TRUE(Train(model, query, options, hooks).ok());
    return checkpoint;
  }

  void ExpectRefused(const TensorBundle& checkpoint, const std::string& what) {
    TrainHooks hooks;
    hooks.resume_from = checkpoint;
    const absl::Status status = Train(*model_, query_, Short(), hooks).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what << ": " << status;
    ASSERT_TRUE(GetFieldViolation(status).has_value()) << what;
    EXPECT_EQ(GetFieldViolation(status)->field, "checkpoint") << what;
  }

  std::shared_ptr<const Model> model_ = LoadVariant("scvi_poisson");
  TrainingCells query_ = QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}});
};

TEST_F(ForeignCheckpointTest, OfAnotherRunIsRefused) {
  ExpectRefused(CheckpointOf(*LoadVariant("scvi_zinb_batchnorm"), query_, Short()),
                "another model");
  ExpectRefused(CheckpointOf(*model_, QueryOf({{"q1", Range(0, 200)}}), Short()), "other batches");
  ExpectRefused({}, "nothing in it");
}

TEST_F(ForeignCheckpointTest, ADamagedRunStateIsRefused) {
  const TensorBundle good = CheckpointOf(*model_, query_, Short());
  for (const char* name : {"run/counters", "run/values", "run/train_loss", "run/validation_elbo"}) {
    TensorBundle bundle = good;
    ASSERT_EQ(bundle.tensors.erase(name), 1u) << name;
    ExpectRefused(bundle, name);
    bundle.tensors[name] = HostTensor::FromFloats({5}, std::vector<float>(5));
    ExpectRefused(bundle, name);
  }
  const std::vector<int64_t> wrong[] = {{1, 2, 3, 4},
                                        {1, 2, 3, 4, 5, 6},
                                        {-1, 0, 0, 0, 0},
                                        {0, -1, 0, 0, 0},
                                        {0, 0, -1, 0, 0},
                                        {0, int64_t{1} << 60, 0, 0, 0},
                                        {int64_t{1} << 40, 0, 0, 0, 0}};
  for (const std::vector<int64_t>& counters : wrong) {
    TensorBundle bundle = good;
    bundle.tensors["run/counters"] =
        HostTensor::FromInts({static_cast<int64_t>(counters.size())}, counters);
    ExpectRefused(bundle, "counters");
  }
}

}  // namespace
}  // namespace portolan
