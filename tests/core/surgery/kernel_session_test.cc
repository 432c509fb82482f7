#include "core/surgery/kernel_session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "core/kernels/bf16_matrix.h"
#include "core/surgery/autograd_session.h"
#include "core/surgery/column_init.h"
#include "tests/core/base/idle_threads.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

FreezeFlags DefaultFlags() {
  FreezeFlags freeze;
  freeze.freeze_dropout = true;
  return freeze;
}

void FillTensor(SavedModel& saved, const std::string& key, float value) {
  HostTensor& tensor = saved.tensors.at(key);
  tensor = HostTensor::FromFloats(tensor.shape(), std::vector<float>(tensor.elements(), value));
}

struct Case {
  std::string name;
  std::string variant;
  std::function<void(SavedModel&)> change = [](SavedModel&) {};
};

void MakeZinb(SavedModel& saved) {
  saved.description.architecture.gene_likelihood = GeneLikelihood::kZinb;
}

const Case kCases[] = {
    {"NbGeneBatch", "scvi_nb_genebatch"},
    {"ZinbGeneBatch", "scvi_nb_genebatch", MakeZinb},
    {"Poisson", "scvi_poisson"},
    {"RawCounts", "scvi_nolog"},
    {"OneBatch", "scvi_one_batch"},
    {"OneBatchZinb", "scvi_one_batch", MakeZinb},
    {"ShallowInjection", "scvi_shallow_inject"},
    {"LinearClassifier", "scanvi_linear_classifier"},
    {"LabelsEncoderNorm", "scanvi_ln_encoder_only"},
    {"LabelsZinb", "scanvi_ln_encoder_only", MakeZinb},
    {"ThetaTiny", "scvi_one_batch", [](SavedModel& saved) { FillTensor(saved, "px_r", -12); }},
    {"ThetaTinyZinb", "scvi_one_batch",
     [](SavedModel& saved) {
       MakeZinb(saved);
       FillTensor(saved, "px_r", -12);
     }},
    {"ThetaLarge", "scvi_one_batch", [](SavedModel& saved) { FillTensor(saved, "px_r", 5); }},
};

class KernelSessionAgainstAutograd : public testing::TestWithParam<Case> {
 protected:
  KernelSessionAgainstAutograd() {
    SavedModel saved = ReadVariant(GetParam().variant);
    GetParam().change(saved);
    model_ = Model::Create(saved).value();
    // A cell without counts.
    TrainingCells cells = QueryOf({{"q1", Range(0, 90)}, {"q2", Range(90, 200)}});
    CsrMatrix counts;
    counts.cols = cells.counts.cols;
    for (int64_t row = 0; row < cells.cells(); ++row) {
      const int64_t rows[] = {row};
      const CsrMatrix one = cells.counts.SelectRows(rows);
      if (row == 17) {
        counts.row_offsets.push_back(counts.nonzeros());
      } else {
        counts.Append(one);
      }
    }
    query_ = std::move(cells);
    query_.counts = std::move(counts);
    noise_.emplace(5, query_);
    columns_ = InitialColumns(*model_, query_, 3);
  }

  std::unique_ptr<TrainingSession> Kernel() {
    EXPECT_TRUE(TrainsByKernels(*model_, query_, DefaultFlags(), {}));
    return KernelSession::Create(*model_, query_, columns_, {}, *noise_).value();
  }
  std::unique_ptr<TrainingSession> Autograd() {
    return AutogradSession::Create(*model_, query_, columns_, DefaultFlags(), {}, *noise_,
                                   std::nullopt)
        .value();
  }

  std::shared_ptr<const Model> model_;
  TrainingCells query_;
  std::optional<CellNoise> noise_;
  std::map<std::string, HostTensor> columns_;
};

void ExpectClose(const std::vector<float>& a, const std::vector<float>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::abs(b[i]))) << i;
  }
}

TEST_P(KernelSessionAgainstAutograd, TwentyStepsAgree) {
  const auto kernel = Kernel();
  const auto autograd = Autograd();
  for (int step = 0; step < 20; ++step) {
    const std::vector<int64_t> rows = Range(step % 3 * 50, step % 3 * 50 + 77);
    const StepResult got = kernel->Step(rows, 0.3, 1e-2).value();
    const StepResult want = autograd->Step(rows, 0.3, 1e-2).value();
    ASSERT_NEAR(got.loss, want.loss, 1e-5 * std::abs(want.loss)) << step;
    ExpectClose(got.reconstruction, want.reconstruction, 1e-5);
    ExpectClose(got.kl, want.kl, 2e-5);
  }
  const Extension got = kernel->Extract().value();
  const Extension want = autograd->Extract().value();
  EXPECT_TRUE(got.is_adapter());
  EXPECT_EQ(got.batches, want.batches);
  ASSERT_EQ(got.columns.size(), want.columns.size());
  for (const auto& [key, tensor] : want.columns) {
    const auto values = got.columns.at(key).floats();
    ASSERT_EQ(values.size(), tensor.floats().size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], tensor.floats()[i], 1e-4) << key << " " << i;
    }
  }
}

TEST_P(KernelSessionAgainstAutograd, TheBitsDoNotDependOnThreads) {
  const auto alone = Kernel();
  const auto shared = Kernel();
  IdleThreads threads(3);
  WorkSharing sharing(&threads);
  shared->ShareWork(sharing);
  for (int step = 0; step < 5; ++step) {
    EXPECT_EQ(alone->Step(Range(0, 200), 0.3, 1e-2)->loss,
              shared->Step(Range(0, 200), 0.3, 1e-2)->loss);
  }
  EXPECT_EQ(alone->NegativeElbo(Range(0, 200)).value(),
            shared->NegativeElbo(Range(0, 200)).value());
  EXPECT_EQ(alone->Parameters().value(), shared->Parameters().value());
}

TEST_P(KernelSessionAgainstAutograd, Bf16RoundsGradientsOnly) {
  const auto exact = Kernel();
  auto rounded = TrainingSession::Create(*model_, query_, columns_, DefaultFlags(), {}, *noise_,
                                         std::nullopt, Precision::kBf16);
  if (!Bf16Matrix::Supported()) {
    EXPECT_EQ(rounded.status().code(), absl::StatusCode::kInvalidArgument);
    GTEST_SKIP() << "this processor has no AVX512-BF16";
  }
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  EXPECT_EQ((*rounded)->NegativeElbo(Range(0, 200)).value(),
            exact->NegativeElbo(Range(0, 200)).value());
  LossSum want;
  LossSum got;
  want.gradient.resize(exact->Parameters()->size());
  got.gradient.resize(want.gradient.size());
  ASSERT_TRUE(exact->AddLossAndGradient(Range(0, 200), 0.3, want).ok());
  ASSERT_TRUE((*rounded)->AddLossAndGradient(Range(0, 200), 0.3, got).ok());
  EXPECT_EQ(got.loss, want.loss);
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < want.gradient.size(); ++i) {
    difference += std::pow(got.gradient[i] - want.gradient[i], 2);
    size += std::pow(want.gradient[i], 2);
  }
  EXPECT_LT(difference, 1e-4 * size);
}

TEST_P(KernelSessionAgainstAutograd, NegativeElboAgrees) {
  const std::vector<double> got = Kernel()->NegativeElbo(Range(0, 200)).value();
  const std::vector<double> want = Autograd()->NegativeElbo(Range(0, 200)).value();
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 1e-5 * (1 + std::abs(want[i]))) << i;
  }
}

TEST_P(KernelSessionAgainstAutograd, ReadTheSameCheckpoints) {
  const auto autograd = Autograd();
  ASSERT_TRUE(autograd->Step(Range(0, 128), 0.5, 1e-2).ok());
  const auto kernel = Kernel();
  ASSERT_TRUE(kernel->Load(autograd->Save().value()).ok());
  const auto other = Autograd();
  ASSERT_TRUE(other->Load(kernel->Save().value()).ok());
  EXPECT_EQ(BytesOf(autograd->Extract().value()), BytesOf(kernel->Extract().value()));
  EXPECT_EQ(BytesOf(autograd->Extract().value()), BytesOf(other->Extract().value()));
}

TEST_P(KernelSessionAgainstAutograd, ACellsLossDoesNotDependOnTheOthers) {
  const auto session = Kernel();
  const std::vector<double> all = session->NegativeElbo(Range(0, 200)).value();
  for (const int64_t row : {0, 17, 33, 199}) {
    EXPECT_EQ(session->NegativeElbo(Range(row, row + 1)).value()[0], all[row]);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, KernelSessionAgainstAutograd, testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

TEST(TrainsByKernelsTest, RefusesWhatItDoesNotKnow) {
  const TrainingCells query = QueryOf({{"q", Range(0, 60)}});
  const auto plain = LoadVariant("scanvi_ln_encoder_only");
  EXPECT_TRUE(TrainsByKernels(*plain, query, DefaultFlags(), {}));
  EXPECT_FALSE(TrainsByKernels(*plain, query, {}, {})) << "dropout";
  EXPECT_FALSE(TrainsByKernels(*plain, query, DefaultFlags(), {.weight_decay = 1e-6}));
  for (const auto change : {+[](FreezeFlags& f) { f.unfrozen = true; },
                            +[](FreezeFlags& f) { f.freeze_expression = false; },
                            +[](FreezeFlags& f) { f.freeze_decoder_first_layer = false; },
                            +[](FreezeFlags& f) { f.freeze_classifier = false; }}) {
    FreezeFlags freeze = DefaultFlags();
    change(freeze);
    EXPECT_FALSE(TrainsByKernels(*plain, query, freeze, {}));
  }
  TrainingCells labelled = query;
  labelled.annotations.labels.assign(60, -1);
  EXPECT_TRUE(TrainsByKernels(*plain, labelled, DefaultFlags(), {}));
  labelled.annotations.labels[5] = 0;
  labelled.annotations.labels[6] = 0;
  EXPECT_FALSE(TrainsByKernels(*plain, labelled, DefaultFlags(), {}));
  for (const char* variant : {"scanvi_batchnorm", "scvi_bn_ln_encoded", "scvi_latent_library",
                              "scvi_latent_library_batchnorm", "scvi_zinb_batchnorm"}) {
    EXPECT_FALSE(TrainsByKernels(*LoadVariant(variant), query, DefaultFlags(), {})) << variant;
  }
}

TEST(TrainsByKernelsTest, Bf16IsRefusedWhereAutogradTrains) {
  const TrainingCells query = QueryOf({{"q", Range(0, 60)}});
  const auto model = LoadVariant("scvi_zinb_batchnorm");
  CellNoise noise(1, query);
  const auto session =
      TrainingSession::Create(*model, query, InitialColumns(*model, query, 0), DefaultFlags(), {},
                              noise, std::nullopt, Precision::kBf16);
  ASSERT_EQ(session.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(session.status().message().find("bf16"), absl::string_view::npos);
}

}  // namespace
}  // namespace portolan
