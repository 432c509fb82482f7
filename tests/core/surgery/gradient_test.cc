#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "core/surgery/column_init.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr double kKlWeight = 0.7;
// Decoder columns meet many ReLU kinks, so their step is small; gradients of encoder columns are
// small, so their step is wide.
constexpr float kDecoderStep = 5e-4f;
constexpr float kEncoderStep = 4e-3f;
// What float32 leaves of a difference of losses, over all entries of a tensor.
constexpr double kRounding = 3e-4;

using Columns = std::map<std::string, HostTensor>;

// Gradients of the trained columns against central differences of the loss, through all of a model:
// encoder, sampling, decoder, likelihood, sums over labels.
class GradientOfVariant : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<TrainingSession> Session(const Columns& columns, const AdamOptions& adam) {
    FreezeFlags freeze;
    freeze.freeze_dropout = true;
    return TrainingSession::Create(*model_, query_, columns, freeze, adam, noise_).value();
  }

  // Summed in double: float32's mean over the cells is too coarse to be differentiated.
  double Loss(const Columns& columns) {
    const auto session = Session(columns, {});
    const StepResult step = session->Step(rows_, kKlWeight, 0).value();
    double sum = 0;
    for (const float term : step.reconstruction) sum += term;
    for (const float term : step.kl) sum += kKlWeight * term;
    return sum / static_cast<double>(rows_.size());
  }

  // One step of Adam whose epsilon dwarfs every gradient moves a parameter by -rate * g / epsilon.
  Columns Gradients(const Columns& columns) {
    constexpr double kHuge = 1e8;
    const auto session = Session(columns, {.epsilon = kHuge});
    EXPECT_TRUE(session->Step(rows_, kKlWeight, kHuge).ok());
    Columns gradients;
    const Extension extension = session->Extract().value();
    for (const auto& [key, moved] : extension.columns) {
      std::vector<float> gradient(moved.elements());
      for (size_t i = 0; i < gradient.size(); ++i) {
        gradient[i] = columns.at(key).floats()[i] - moved.floats()[i];
      }
      gradients[key] = HostTensor::FromFloats(moved.shape(), gradient);
    }
    return gradients;
  }

  std::shared_ptr<const Model> model_ = LoadVariant(GetParam());
  TrainingCells query_ = QueryOf({{"q1", Range(0, 110)}, {"q2", Range(110, 200)}});
  std::vector<int64_t> rows_ = Range(0, 200);
  ConstantNoise noise_;
};

Columns With(const Columns& columns, const std::string& key, size_t i, float value) {
  Columns changed = columns;
  std::vector<float> values(columns.at(key).floats().begin(), columns.at(key).floats().end());
  values[i] = value;
  changed[key] = HostTensor::FromFloats(columns.at(key).shape(), values);
  return changed;
}

TEST_P(GradientOfVariant, AgreesWithCentralDifferences) {
  const Columns columns = InitialColumns(*model_, query_, 3);
  const Columns gradients = Gradients(columns);
  for (const auto& [key, gradient] : gradients) {
    const auto analytic = gradient.floats();
    if (key == "px_r" || key.starts_with("library_log")) {
      for (const float value : analytic) EXPECT_EQ(value, 0) << key << " is not trained";
      continue;
    }
    const float step_size = key.starts_with("decoder.") ? kDecoderStep : kEncoderStep;
    double error = 0;
    double size = 0;
    for (size_t i = 0; i < analytic.size(); ++i) {
      const float at = columns.at(key).floats()[i];
      const float above = at + step_size;
      const float below = at - step_size;
      const double numeric =
          (Loss(With(columns, key, i, above)) - Loss(With(columns, key, i, below))) /
          (static_cast<double>(above) - below);
      error += (analytic[i] - numeric) * (analytic[i] - numeric);
      size += numeric * numeric;
    }
    EXPECT_GT(std::sqrt(size), 0.02) << key;
    EXPECT_LT(std::sqrt(error), 1e-2 * std::sqrt(size) + kRounding) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, GradientOfVariant,
                         testing::Values("scvi_nb_genebatch", "scvi_poisson", "scvi_nolog",
                                         "scvi_one_batch", "scvi_shallow_inject",
                                         "scanvi_linear_classifier", "scanvi_ln_encoder_only"),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
