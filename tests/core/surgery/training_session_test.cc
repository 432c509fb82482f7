#include "core/surgery/training_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/field_error.h"
#include "core/model/state_dict.h"
#include "core/surgery/column_init.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;

constexpr char kDecoder[] = "decoder.px_decoder.fc_layers.Layer 0.0.weight";

FreezeFlags WithoutDropout() {
  FreezeFlags freeze;
  freeze.freeze_dropout = true;
  return freeze;
}

// Three steps that scvi-tools took on GoldenCounts(), all eight cells in a new batch.
class GoldenSurgery : public testing::TestWithParam<double> {
 protected:
  void SetUp() override {
    const std::string directory = SharedDataPath("models/scvi_v0150");
    if (directory.empty()) GTEST_SKIP() << "no shared test data: models/scvi_v0150";
    model_ = Model::Create(ReadSavedModel(directory).value()).value();
    cells_.counts = GoldenCounts();
    cells_.batches = {"new"};
    cells_.batch_codes.assign(8, 0);
    cells_.cell_ids.assign(8, 0);
    Train();
  }

  void Train() {
    std::map<std::string, HostTensor> columns;
    for (const auto& [key, start] : InitialColumns(*model_, cells_, 0)) {
      std::vector<float> values(start.elements());
      for (size_t row = 0; row < values.size(); ++row) {
        values[row] = 0.01f * static_cast<float>(static_cast<int>(row % 7) - 3);
      }
      columns[key] = HostTensor::FromFloats(start.shape(), values);
    }
    const AdamOptions adam = {.weight_decay = GetParam()};
    const auto session =
        TrainingSession::Create(*model_, cells_, columns, WithoutDropout(), adam, noise_).value();
    for (int step = 0; step < 3; ++step) {
      losses_.push_back(session->Step(Range(0, 8), 0.3, 1e-3).value().loss);
    }
    extension_ = session->Extract().value();
    extended_ = model_->Extend(extension_).value();
    before_ = StateDict(*model_).value();
    after_ = StateDict(*extended_).value();
  }

  void ExpectNear(const std::map<std::string, HostTensor>& state, const std::string& key,
                  size_t first, const std::vector<double>& want, double tolerance) const {
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(state.at(key).floats()[first + i], want[i], tolerance) << key << " " << i;
    }
  }

  // scvi-tools alternates the batches of these cells.
  Embedding EncodeReferenceBatches(const Model& model) const {
    return Encode(model, {cells_.counts, {0, 1, 0, 1, 0, 1, 0, 1}}, CancelToken()).value();
  }

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Model> extended_;
  TrainingCells cells_;
  ConstantNoise noise_;
  std::vector<double> losses_;
  Extension extension_;
  std::map<std::string, HostTensor> before_;
  std::map<std::string, HostTensor> after_;
};

TEST_P(GoldenSurgery, LossesAreThoseOfScviTools) {
  const std::vector<double> want = {331.26147, 331.23029, 331.19919};
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(losses_[i], want[i], 1e-5 * want[i]);
}

TEST_P(GoldenSurgery, TheNewColumnStaysWhereBatchNormCancelsIt) {
  ASSERT_EQ(after_.at(kDecoder).shape(), (std::vector<int64_t>{128, 13}));
  const std::vector<double> want = {-0.029999958, -0.019999962, -0.0099999914, 1.5e-8};
  for (size_t row = 0; row < want.size(); ++row) {
    EXPECT_NEAR(after_.at(kDecoder).floats()[row * 13 + 12], want[row], 1e-6) << row;
  }
}

TEST_P(GoldenSurgery, BatchNormOfTheDecoderMoves) {
  const std::string norm = "decoder.px_decoder.fc_layers.Layer 0.1.";
  ExpectNear(before_, norm + "running_mean", 0, {-0.012166739, -0.011321524, 0.0024108721}, 1e-8);
  ExpectNear(after_, norm + "weight", 0, {0.99420565, 0.9944036, 1.0000811}, 1e-6);
  ExpectNear(after_, norm + "running_mean", 0, {-0.021305755, -0.017827746, 6.7457376e-4}, 1e-7);
  ExpectNear(after_, norm + "running_var", 0, {0.95468849, 0.94851530, 0.95367974}, 1e-6);
  EXPECT_FALSE(extension_.is_adapter());
  EXPECT_FALSE(extension_.reasons.empty());
}

TEST_P(GoldenSurgery, TheReferenceMovesOnlyByWeightDecay) {
  const std::string first = "z_encoder.encoder.fc_layers.Layer 0.0.weight";
  const Embedding z = EncodeReferenceBatches(*extended_);
  const auto mean_is = [&](std::vector<double> want) {
    for (size_t d = 0; d < want.size(); ++d) EXPECT_NEAR(z.mean[d], want[d], 5e-7) << d;
  };
  const auto kept = [&](const char* key) {
    return std::equal(before_.at(key).floats().begin(), before_.at(key).floats().end(),
                      after_.at(key).floats().begin());
  };
  EXPECT_TRUE(kept("z_encoder.encoder.fc_layers.Layer 0.1.running_mean"));
  EXPECT_TRUE(kept("z_encoder.encoder.fc_layers.Layer 0.1.running_var"));
  EXPECT_TRUE(kept("z_encoder.encoder.fc_layers.Layer 0.1.weight"));
  EXPECT_TRUE(kept("decoder.px_scale_decoder.0.weight"));
  ExpectNear(before_, first, 0, {-0.023221251, 0.0037369635}, 1e-9);
  if (GetParam() == 0) {
    EXPECT_TRUE(kept(first.c_str()));
    ExpectNear(after_, kDecoder, 0, {0.048524775, 0.072054982}, 5e-9);
    EXPECT_EQ(z.mean, EncodeReferenceBatches(*model_).mean);
  } else {
    ExpectNear(after_, first, 0, {-0.023221245, 0.0037369621}, 1e-9);
    EXPECT_FALSE(kept(first.c_str()));
    mean_is({-0.37517068, 0.63930684, -0.071670301});
  }
}

INSTANTIATE_TEST_SUITE_P(WeightDecay, GoldenSurgery, testing::Values(0.0, 1e-6),
                         [](const auto& test) { return test.param == 0 ? "none" : "scvi"; });

class SessionTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<TrainingSession>> Open(const Model& model,
                                                        const FreezeFlags& freeze = {}) {
    return TrainingSession::Create(model, query_, InitialColumns(model, query_, 1), freeze, {},
                                   noise_);
  }

  TrainingCells query_ = QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}});
  ConstantNoise noise_;
};

TEST_F(SessionTest, ANonFiniteLossAborts) {
  const auto model = LoadVariant("scvi_poisson");
  auto columns = InitialColumns(*model, query_, 1);
  columns[kDecoder] = HostTensor::FromFloats({2, 16}, std::vector<float>(32, std::nanf("")));
  const auto session = TrainingSession::Create(*model, query_, columns, {}, {}, noise_).value();
  const absl::Status status = session->Step(Range(0, 50), 1, 1e-3).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nan"));
}

TEST_F(SessionTest, StartColumnsMustFit) {
  const auto model = LoadVariant("scvi_poisson");
  const auto good = InitialColumns(*model, query_, 1);
  const HostTensor wrong[] = {
      HostTensor::FromFloats({1, 16}, std::vector<float>(16)),
      HostTensor::FromFloats({2, 15}, std::vector<float>(30)),
      HostTensor::FromFloats({32}, std::vector<float>(32)),
      HostTensor::FromInts({2, 16}, std::vector<int64_t>(32)),
  };
  for (const HostTensor& tensor : wrong) {
    auto columns = good;
    columns[kDecoder] = tensor;
    EXPECT_FALSE(TrainingSession::Create(*model, query_, columns, {}, {}, noise_).ok())
        << ShapeString(tensor.shape());
  }
  auto columns = good;
  columns.erase(kDecoder);
  EXPECT_FALSE(TrainingSession::Create(*model, query_, columns, {}, {}, noise_).ok());
}

TEST_F(SessionTest, TakesUpWhereAnotherLeftOff) {
  const auto model = LoadVariant("scanvi_batchnorm");
  const auto one = Open(*model, WithoutDropout()).value();
  ASSERT_TRUE(one->Step(Range(0, 128), 0.5, 1e-3).ok());
  const TensorBundle saved = one->Save().value();
  const auto other = Open(*model, WithoutDropout()).value();
  ASSERT_TRUE(other->Load(saved).ok());
  for (const auto& session : {one.get(), other.get()}) {
    ASSERT_TRUE(session->Step(Range(100, 200), 0.5, 1e-3).ok());
  }
  EXPECT_EQ(BytesOf(one->Extract().value()), BytesOf(other->Extract().value()));
}

TEST_F(SessionTest, ACheckpointThatDoesNotFitIsRefused) {
  const auto model = LoadVariant("scvi_zinb_batchnorm");
  const TensorBundle saved = Open(*model).value()->Save().value();
  const auto expect_refused = [&](const TensorBundle& bundle, const std::string& what) {
    const absl::Status status = Open(*model).value()->Load(bundle);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    ASSERT_TRUE(GetFieldViolation(status).has_value()) << what;
    EXPECT_EQ(GetFieldViolation(status)->field, "checkpoint");
  };
  expect_refused({}, "nothing in it");
  expect_refused(Open(*LoadVariant("scvi_poisson")).value()->Save().value(), "another model");
  ASSERT_GT(saved.tensors.size(), 4u);
  for (const auto& [name, tensor] : saved.tensors) {
    TensorBundle bundle = saved;
    bundle.tensors.erase(name);
    expect_refused(bundle, name + " missing");
    bundle.tensors[name] = HostTensor::FromFloats({}, std::vector<float>(1));
    expect_refused(bundle, name + " of another shape");
    const auto elements = static_cast<size_t>(tensor.elements());
    bundle.tensors[name] =
        tensor.dtype() == DType::kFloat32
            ? HostTensor::FromInts(tensor.shape(), std::vector<int64_t>(elements))
            : HostTensor::FromFloats(tensor.shape(), std::vector<float>(elements));
    expect_refused(bundle, name + " of another type");
  }
  EXPECT_TRUE(Open(*model).value()->Load(saved).ok());
}

TEST_F(SessionTest, TheNegativeElboIsTheLossWithKlWeightOne) {
  for (const char* variant : {"scvi_poisson", "scvi_latent_library", "scanvi_ln_encoder_only"}) {
    const auto model = LoadVariant(variant);
    const auto session = Open(*model, WithoutDropout()).value();
    const std::vector<double> elbo = session->NegativeElbo(Range(0, 200)).value();
    ASSERT_EQ(elbo.size(), 200u);
    const StepResult step = session->Step(Range(0, 200), 1, 1e-3).value();
    for (int i = 0; i < 200; ++i) {
      EXPECT_NEAR(elbo[i], step.reconstruction[i] + step.kl[i], 1e-5 * std::abs(elbo[i]))
          << variant;
    }
  }
}

TEST_F(SessionTest, TheNegativeElboOfTheExtendedModelIsTheSessions) {
  for (const char* variant : {"scvi_nb_genebatch", "scvi_latent_library", "scanvi_batchnorm"}) {
    const auto model = LoadVariant(variant);
    const auto session = Open(*model, WithoutDropout()).value();
    ASSERT_TRUE(session->Step(Range(0, 128), 0.5, 1e-3).ok());
    const auto extended = model->Extend(session->Extract().value()).value();
    std::vector<int32_t> codes = query_.batch_codes;
    for (int32_t& code : codes) code += 2;
    EXPECT_EQ(NegativeElbo(*extended, {query_.counts, codes}, noise_, CancelToken()).value(),
              session->NegativeElbo(Range(0, 200)).value())
        << variant;
  }
}

TEST(FullDeltaReasonsTest, AnAdapterIsEnoughExactlyWhereOnlyColumnsAreTrained) {
  const std::vector<std::string> full = {"scanvi_batchnorm", "scvi_bn_ln_encoded",
                                         "scvi_latent_library", "scvi_latent_library_batchnorm",
                                         "scvi_zinb_batchnorm"};
  ConstantNoise noise;
  for (const std::string& variant : VariantNames()) {
    const auto model = LoadVariant(variant);
    const TrainingCells query = QueryOf({{"q", Range(0, 60)}}, *model);
    const bool adapter = std::find(full.begin(), full.end(), variant) == full.end();
    EXPECT_EQ(FullDeltaReasons(*model, {}, {}).empty(), adapter) << variant;
    for (const double decay : {0.0, 1e-6}) {
      const auto session = TrainingSession::Create(*model, query, InitialColumns(*model, query, 1),
                                                   {}, {.weight_decay = decay}, noise)
                               .value();
      const Extension extension = session->Extract().value();
      EXPECT_EQ(extension.is_adapter(), adapter && decay == 0) << variant;
      EXPECT_EQ(extension.reasons.empty(), extension.is_adapter()) << variant;
    }
    FreezeFlags unfrozen;
    unfrozen.unfrozen = true;
    EXPECT_FALSE(FullDeltaReasons(*model, unfrozen, {}).empty()) << variant;
  }
}

TEST(FullDeltaReasonsTest, FreezingTheDecodersBatchNormMakesAnAdapterEnough) {
  FreezeFlags freeze;
  freeze.freeze_batchnorm_decoder = true;
  EXPECT_TRUE(FullDeltaReasons(*LoadVariant("scvi_zinb_batchnorm"), freeze, {}).empty());
  EXPECT_TRUE(FullDeltaReasons(*LoadVariant("scvi_bn_ln_encoded"), freeze, {}).empty());
  EXPECT_FALSE(FullDeltaReasons(*LoadVariant("scanvi_batchnorm"), freeze, {}).empty());
}

}  // namespace
}  // namespace portolan
