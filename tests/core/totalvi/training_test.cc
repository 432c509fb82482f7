#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/field_error.h"
#include "core/model/state_dict.h"
#include "core/surgery/column_init.h"
#include "core/surgery/schedule.h"
#include "core/surgery/trainer.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"
#include "tests/core/totalvi/protein_fixtures.h"

namespace portolan {
namespace {

constexpr char kMask[] = "protein_batch_mask";
const std::vector<uint8_t> kNone(12, 0);

TrainOptions Short() {
  TrainOptions options = PresetOptions(Preset::kScvi, 200, ModelClass::kTotalvi);
  options.max_epochs = 4;
  options.minibatch = 32;
  options.seed = 4;
  return options;
}

// Half of the second batch's panel is missing, so that there is an adversary.
TrainingCells Query() {
  return ProteinQuery({{"q1", Range(0, 110), {}}, {"q2", Range(110, 200), PanelWithout({0, 3})}});
}

Embedding EncodeAll(const Model& model, const TrainingCells& cells, int32_t first_code) {
  std::vector<int32_t> codes = cells.batch_codes;
  for (int32_t& code : codes) code += first_code;
  return Encode(model, {cells.counts, codes, cells.annotations, cells.proteins}, CancelToken())
      .value();
}

TEST(TotalviPresetTest, IsTheModelsOwnTrain) {
  const TrainOptions options = PresetOptions(Preset::kScvi, 1001, ModelClass::kTotalvi);
  EXPECT_EQ(options.adam.learning_rate, 4e-3);
  EXPECT_EQ(options.minibatch, 256);
  EXPECT_EQ(options.early_stopping->patience, 45);
  EXPECT_EQ(options.plateau->patience, 30);
  EXPECT_EQ(options.plateau->factor, 0.6);
  EXPECT_EQ(options.kl_warmup_steps, 750);
  EXPECT_EQ(KlWeight(options, 100, 0), 0.0f);
  EXPECT_EQ(KlWeight(options, 0, 75), 0.1f);
  EXPECT_EQ(KlWeight(options, 0, 750), 1.0f);
}

TEST(TotalviColumnsTest, MissingProteinsAreMaskedAndTakeTheReferencesPrior) {
  const auto model = LoadProteinModel("totalvi_nb");
  const TrainingCells query = Query();
  const auto columns = InitialColumns(*model, query, 1);
  const auto mask = columns.at(kMask).floats();
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(mask[i], 1) << i;
    EXPECT_EQ(mask[12 + i], i == 0 || i == 3 ? 0 : 1) << i;
  }
  const auto alpha = columns.at("background_pro_alpha").floats();
  EXPECT_EQ(alpha[12 + 1], alpha[12 + 2]);  // the empirical prior is the same for all proteins
  const auto saved = StateDict(*model).value().at("background_pro_alpha").floats();
  EXPECT_FLOAT_EQ(alpha[12 + 3], (saved[2 * 3] + saved[2 * 3 + 1]) / 2);
  for (const float e : columns.at("log_per_batch_efficiency").floats()) EXPECT_EQ(e, 0);
}

TEST(TotalviColumnsTest, ModelsWithoutAnEmpiricalPriorStartAtThree) {
  const auto columns = InitialColumns(*LoadProteinModel("totalvi_latent_library"), Query(), 1);
  EXPECT_EQ(columns.at("background_pro_alpha").floats()[0], 3);
  EXPECT_EQ(columns.at("background_pro_log_beta").floats()[0], 0);
}

TEST(TotalviTrainingTest, ProteinsThatAreMissingAreNoZeros) {
  const auto model = LoadProteinModel("totalvi_nb");
  TrainingCells zeros = ProteinQuery({{"q", Range(0, 100), kNone}});
  zeros.proteins.measured.assign(12, 1);  // all zero: scvi-tools, too, takes them for missing
  TrainingCells none = zeros;
  none.proteins = {};
  ConstantNoise noise;
  for (const TrainingCells& query : {zeros, none}) {
    const auto columns = InitialColumns(*model, query, 1);
    for (const float m : columns.at(kMask).floats()) EXPECT_EQ(m, 0);
    const auto session =
        TrainingSession::Create(*model, query, columns, {.freeze_dropout = true}, {}, noise)
            .value();
    const StepResult step = session->Step(Range(0, 100), 1, 1e-3).value();
    for (const float term : step.proteins) EXPECT_EQ(term, 0);
  }
}

TEST(TotalviTrainingTest, TheMaskStaysWithTheExtension) {
  const auto model = LoadProteinModel("totalvi_missing");
  const TrainResult run = Train(*model, Query(), Short(), {}).value();
  EXPECT_TRUE(run.extension.is_adapter());
  const auto mask = run.extension.columns.at(kMask).floats();
  EXPECT_EQ(mask[12], 0);
  EXPECT_EQ(mask[13], 1);
  const auto extended = model->Extend(ExtensionFromBundle(ToBundle(run.extension)).value()).value();
  EXPECT_FALSE(StateDict(*extended).value().contains(kMask));
  EXPECT_EQ(StateDict(*extended).value().at("background_pro_alpha").shape(),
            (std::vector<int64_t>{12, 4}));
}

TEST(TotalviTrainingTest, BatchesTrainApartAndComposeInAnyOrder) {
  for (const char* name : {"totalvi_nb", "totalvi_one_batch", "totalvi_latent_library"}) {
    const auto model = LoadProteinModel(name);
    const auto known = static_cast<int32_t>(model->description().batches.categories.size());
    const TrainingCells q1 = ProteinQuery({{"q1", Range(0, 110), {}}});
    const TrainingCells q2 = ProteinQuery({{"q2", Range(110, 200), PanelWithout({0, 3})}});
    const Extension one = Train(*model, q1, Short(), {}).value().extension;
    const Extension two = Train(*model, q2, Short(), {}).value().extension;
    const auto first = model->Extend(one).value();
    // The same on top of another version.
    EXPECT_EQ(BytesOf(Train(*first, q2, Short(), {}).value().extension), BytesOf(two)) << name;
    const auto both = model->Extend(Compose({two, one})).value();
    EXPECT_EQ(EncodeAll(*both, q1, known + 1).mean, EncodeAll(*first, q1, known).mean) << name;
    EXPECT_EQ(EncodeAll(*both, q1, 0).mean, EncodeAll(*model, q1, 0).mean) << name;
  }
}

TEST(TotalviTrainingTest, TheAdversaryComesWithMissingProteinsAndTellsInTheNumbers) {
  const auto model = LoadProteinModel("totalvi_nb");
  const TrainingCells query = Query();
  TrainOptions options = Short();
  const std::string by_default = BytesOf(Train(*model, query, options, {}).value().extension);
  options.adversary = AdversaryMode::kOn;
  EXPECT_EQ(BytesOf(Train(*model, query, options, {}).value().extension), by_default);
  options.adversary = AdversaryMode::kOff;
  EXPECT_NE(BytesOf(Train(*model, query, options, {}).value().extension), by_default);
  const TrainingCells complete = ProteinQuery({{"q", Range(0, 110), {}}});
  const std::string off = BytesOf(Train(*model, complete, options, {}).value().extension);
  options.adversary = AdversaryMode::kAuto;
  EXPECT_EQ(BytesOf(Train(*model, complete, options, {}).value().extension), off);
}

TEST(TotalviTrainingTest, AnInterruptedRunGoesOnWithTheSameBits) {
  for (const char* name : {"totalvi_nb", "totalvi_zinb_batchnorm", "totalvi_latent_library"}) {
    const auto model = LoadProteinModel(name);
    const TrainingCells query = Query();
    TrainOptions options = Short();
    options.freeze.freeze_dropout = false;
    const TrainResult whole = Train(*model, query, options, {}).value();
    for (const int minibatches : {1, 7, 13}) {
      TrainHooks hooks;
      hooks.checkpoint_due = [&hooks, left = minibatches]() mutable {
        if (--left == 0) hooks.cancel.Cancel();
        return false;
      };
      std::string bytes;
      hooks.on_checkpoint = [&](const TensorBundle& bundle) { bytes = SerializeBundle(bundle); };
      EXPECT_EQ(Train(*model, query, options, hooks).status().code(), absl::StatusCode::kCancelled);
      TrainHooks resumed;
      resumed.resume_from = ParseBundle(bytes).value();
      const TrainResult result = Train(*model, query, options, resumed).value();
      EXPECT_EQ(BytesOf(result.extension), BytesOf(whole.extension)) << name << minibatches;
      EXPECT_EQ(result.validation_elbo, whole.validation_elbo) << name;
    }
  }
}

TEST(TotalviTrainingTest, AnotherPanelThanTheModelsIsRefused) {
  const auto model = LoadProteinModel("totalvi_nb");
  TrainingCells query = Query();
  query.proteins.n_proteins = 11;
  const absl::Status status = Train(*model, query, Short(), {}).status();
  ASSERT_TRUE(GetFieldViolation(status).has_value()) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "proteins");
}

}  // namespace
}  // namespace portolan
