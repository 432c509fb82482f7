// TOTALVI by kernels beside LibTorch.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>

#include "core/surgery/autograd_session.h"
#include "core/surgery/column_init.h"
#include "core/surgery/kernel_session.h"
#include "tests/core/base/idle_threads.h"
#include "tests/core/model/model_fixtures.h"
#include "tests/core/totalvi/protein_fixtures.h"

namespace portolan {
namespace {

constexpr int64_t kProteins = 12;
const std::vector<uint8_t> kNone(kProteins, 0);

FreezeFlags DefaultFlags() {
  FreezeFlags freeze;
  freeze.freeze_dropout = true;
  return freeze;
}

void FillTensor(SavedModel& saved, const std::string& key, float value) {
  HostTensor& tensor = saved.tensors.at(key);
  tensor = HostTensor::FromFloats(tensor.shape(), std::vector<float>(tensor.elements(), value));
}

void MakeZinb(SavedModel& saved) {
  saved.description.architecture.gene_likelihood = GeneLikelihood::kZinb;
}

void WithoutBatchNorm(SavedModel& saved) { saved.description.architecture.batch_norm = {}; }

void ProteinBatchDispersion(SavedModel& saved) {
  Architecture& a = saved.description.architecture;
  a.proteins->dispersion = ProteinDispersion::kProteinBatch;
  std::vector<float> values;
  for (int64_t i = 0; i < kProteins * a.n_batch; ++i) {
    values.push_back(0.2f * static_cast<float>(i % 7));
  }
  saved.tensors.at("py_r") = HostTensor::FromFloats({kProteins, a.n_batch}, values);
}

std::function<void(SavedModel&)> Before131(TotalviVariant variant) {
  return [variant](SavedModel& saved) {
    saved.description.architecture.proteins->variant = variant;
    saved.tensors.erase("log_per_batch_efficiency");
  };
}

struct Case {
  std::string name;
  std::string model;
  std::function<void(SavedModel&)> change = [](SavedModel&) {};
  std::vector<uint8_t> second_panel = PanelWithout({0, 3});
};

const Case kCases[] = {
    {"Nb", "totalvi_nb"},
    {"NoProteins", "totalvi_nb", [](SavedModel&) {}, kNone},
    {"Zinb", "totalvi_nb", MakeZinb},
    {"ZinbGeneBatch", "totalvi_zinb_batchnorm", WithoutBatchNorm},
    {"DeepDecoder", "totalvi_missing"},
    {"OneBatch", "totalvi_one_batch"},
    {"Plain", "totalvi_plain"},
    {"ProteinBatch", "totalvi_nb", ProteinBatchDispersion},
    {"Exp", "totalvi_nb", Before131(TotalviVariant::kExp)},
    {"Softplus", "totalvi_nb", Before131(TotalviVariant::kSoftplus)},
    {"SoftplusFloor", "totalvi_nb", Before131(TotalviVariant::kSoftplusFloor)},
    {"ThetaTiny", "totalvi_nb",
     [](SavedModel& saved) {
       FillTensor(saved, "px_r", -12);
       FillTensor(saved, "py_r", -12);
     }},
    {"ThetaLarge", "totalvi_nb",
     [](SavedModel& saved) {
       FillTensor(saved, "px_r", 5);
       FillTensor(saved, "py_r", 5);
     }},
    {"Efficiency", "totalvi_nb",
     [](SavedModel& saved) { FillTensor(saved, "log_per_batch_efficiency", 0.3f); }},
};

class TotalviKernelSession : public testing::TestWithParam<Case> {
 protected:
  TotalviKernelSession() {
    SavedModel saved = ReadProteinModel(GetParam().model);
    GetParam().change(saved);
    model_ = Model::Create(saved).value();
    query_ =
        ProteinQuery({{"q1", Range(0, 90), {}}, {"q2", Range(90, 200), GetParam().second_panel}});
    // A cell without counts.
    CsrMatrix counts;
    counts.cols = query_.counts.cols;
    for (int64_t row = 0; row < query_.cells(); ++row) {
      const int64_t rows[] = {row};
      if (row == 17) {
        counts.row_offsets.push_back(counts.nonzeros());
      } else {
        counts.Append(query_.counts.SelectRows(rows));
      }
    }
    query_.counts = std::move(counts);
    std::fill_n(query_.proteins.values.begin() + 17 * kProteins, kProteins, 0.0f);
    noise_.emplace(5, query_);
    columns_ = InitialColumns(*model_, query_, 3);
    if (GetParam().name == "Efficiency") {
      std::vector<float> values(2 * kProteins);
      for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1f * static_cast<float>(i % 5);
      columns_["log_per_batch_efficiency"] = HostTensor::FromFloats({2, kProteins}, values);
    }
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

TEST_P(TotalviKernelSession, TwentyStepsAgree) {
  const auto kernel = Kernel();
  const auto autograd = Autograd();
  for (int step = 0; step < 20; ++step) {
    const std::vector<int64_t> rows = Range(step % 3 * 50, step % 3 * 50 + 77);
    const StepResult got = kernel->Step(rows, 0.3, 1e-2).value();
    const StepResult want = autograd->Step(rows, 0.3, 1e-2).value();
    ASSERT_NEAR(got.loss, want.loss, 1e-5 * std::abs(want.loss)) << step;
    ExpectClose(got.reconstruction, want.reconstruction, 1e-5);
    ExpectClose(got.proteins, want.proteins, 2e-5);
    ExpectClose(got.kl, want.kl, 2e-5);
  }
  const Extension got = kernel->Extract().value();
  const Extension want = autograd->Extract().value();
  EXPECT_TRUE(got.is_adapter());
  EXPECT_EQ(got.batches, want.batches);
  ASSERT_EQ(got.columns.size(), want.columns.size());
  for (const auto& [key, tensor] : want.columns) {
    const auto values = got.columns.at(key).floats();
    ASSERT_EQ(got.columns.at(key).shape(), tensor.shape());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], tensor.floats()[i], 1e-4) << key << " " << i;
    }
  }
}

TEST_P(TotalviKernelSession, TheBitsDoNotDependOnThreads) {
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

TEST_P(TotalviKernelSession, SumsForNewtonAgree) {
  const auto kernel = Kernel();
  const auto autograd = Autograd();
  std::vector<float> x = kernel->Parameters().value();
  EXPECT_EQ(x, autograd->Parameters().value());
  for (size_t i = 0; i < x.size(); ++i) x[i] += 0.01f * static_cast<float>(i % 3);
  LossSum got;
  LossSum want;
  for (const auto& [session, sum] : {std::pair{kernel.get(), &got}, {autograd.get(), &want}}) {
    ASSERT_TRUE(session->SetParameters(x).ok());
    sum->gradient.resize(x.size());
    ASSERT_TRUE(session->AddLossAndGradient(Range(0, 200), 0.25, *sum).ok());
  }
  EXPECT_NEAR(got.loss, want.loss, 1e-5 * std::abs(want.loss));
  double size = 0;
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    size += want.gradient[i] * want.gradient[i];
    error += (got.gradient[i] - want.gradient[i]) * (got.gradient[i] - want.gradient[i]);
  }
  EXPECT_LT(std::sqrt(error), 1e-4 * std::sqrt(size));
}

TEST_P(TotalviKernelSession, NegativeElboAgrees) {
  const std::vector<double> got = Kernel()->NegativeElbo(Range(0, 200)).value();
  const std::vector<double> want = Autograd()->NegativeElbo(Range(0, 200)).value();
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 1e-5 * (1 + std::abs(want[i]))) << i;
  }
}

TEST_P(TotalviKernelSession, AnExtendedModelHasTheSessionsElbo) {
  const auto session = Kernel();
  ASSERT_TRUE(session->Step(Range(0, 128), 0.5, 1e-2).ok());
  const auto extended = model_->Extend(session->Extract().value()).value();
  std::vector<int32_t> codes = query_.batch_codes;
  for (int32_t& code : codes) code += extended->BatchCode("q1");
  const CellInputs cells{query_.counts, codes, query_.annotations, query_.proteins};
  EXPECT_EQ(NegativeElbo(*extended, cells, *noise_, CancelToken()).value(),
            session->NegativeElbo(Range(0, 200)).value());
}

TEST_P(TotalviKernelSession, ReadTheSameCheckpoints) {
  const auto autograd = Autograd();
  ASSERT_TRUE(autograd->Step(Range(0, 128), 0.5, 1e-2).ok());
  const auto kernel = Kernel();
  ASSERT_TRUE(kernel->Load(autograd->Save().value()).ok());
  const auto other = Autograd();
  ASSERT_TRUE(other->Load(kernel->Save().value()).ok());
  EXPECT_EQ(BytesOf(autograd->Extract().value()), BytesOf(kernel->Extract().value()));
  EXPECT_EQ(BytesOf(autograd->Extract().value()), BytesOf(other->Extract().value()));
}

TEST_P(TotalviKernelSession, ACellsLossDoesNotDependOnTheOthers) {
  const auto session = Kernel();
  const std::vector<double> all = session->NegativeElbo(Range(0, 200)).value();
  for (const int64_t row : {0, 17, 33, 199}) {
    EXPECT_EQ(session->NegativeElbo(Range(row, row + 1)).value()[0], all[row]);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TotalviKernelSession, testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

TEST(TotalviTrainsByKernelsTest, RefusesWhatItDoesNotKnow) {
  const TrainingCells query = ProteinQuery({{"q", Range(0, 60), {}}});
  const auto plain = LoadProteinModel("totalvi_nb");
  EXPECT_TRUE(TrainsByKernels(*plain, query, DefaultFlags(), {}));
  EXPECT_FALSE(TrainsByKernels(*plain, query, {}, {})) << "dropout";
  EXPECT_FALSE(TrainsByKernels(*plain, query, DefaultFlags(), {.weight_decay = 1e-6}));
  for (const char* model : {"totalvi_zinb_batchnorm", "totalvi_latent_library"}) {
    EXPECT_FALSE(TrainsByKernels(*LoadProteinModel(model), query, DefaultFlags(), {})) << model;
  }
}

}  // namespace
}  // namespace portolan
