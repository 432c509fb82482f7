// Three steps that scvi-tools took on a small TOTALVI model, every normal sample being 0.37. Half
// of the cells are in the model's second batch, half in a new one; both batches' columns are
// trained.

#include <gtest/gtest.h>

#include <cmath>

#include "core/model/state_dict.h"
#include "core/surgery/column_init.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr double kRate = 4e-3;

class TotalviSurgeryTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string directory = SharedDataPath("models/totalvi_v132");
    if (directory.empty()) GTEST_SKIP() << "no shared test data: models/totalvi_v132";
    model_ = Model::Create(ReadSavedModel(directory).value()).value();
    cells_.counts = GoldenCounts();
    cells_.proteins = GoldenProteins();
    cells_.batches = {"second again", "new"};
    cells_.batch_codes = {0, 1, 0, 1, 0, 1, 0, 1};
    cells_.cell_ids.assign(8, 0);
  }

  // The second batch's own columns under another name, and those of the new batch.
  std::map<std::string, HostTensor> Columns() const {
    auto columns = InitialColumns(*model_, cells_, 0);
    const auto state = StateDict(*model_).value();
    for (auto& [key, tensor] : columns) {
      const auto it = state.find(key);
      if (it == state.end()) continue;  // the mask
      const int64_t rows = it->second.shape()[0];
      const int64_t width = it->second.shape()[1];
      std::vector<float> values;
      for (int64_t row = 0; row < rows; ++row) {
        values.push_back(it->second.floats()[row * width + width - 1]);
      }
      for (int64_t row = 0; row < rows; ++row) {
        float value = 0.01f * static_cast<float>(static_cast<int>(row % 7) - 3);
        if (key == "background_pro_alpha") value = 3;
        if (key == "background_pro_log_beta" || key == "log_per_batch_efficiency") value = 0;
        values.push_back(value);
      }
      tensor = HostTensor::FromFloats(tensor.shape(), values);
    }
    return columns;
  }

  // A column of a tensor, counted from the right.
  static void ExpectColumn(const std::map<std::string, HostTensor>& state, const std::string& key,
                           int64_t from_right, const std::vector<double>& want, double tolerance) {
    const HostTensor& tensor = state.at(key);
    const int64_t width = tensor.shape()[1];
    for (size_t row = 0; row < want.size(); ++row) {
      const auto at = static_cast<int64_t>(row) * width + width - from_right;
      EXPECT_NEAR(tensor.floats()[at], want[row], tolerance) << key << " " << row;
    }
  }

  std::shared_ptr<const Model> model_;
  TrainingCells cells_;
  ConstantNoise noise_;
};

TEST_F(TotalviSurgeryTest, ThreeStepsAreThoseOfScviTools) {
  const auto session = TrainingSession::Create(*model_, cells_, Columns(), {.freeze_dropout = true},
                                               {.learning_rate = kRate}, noise_)
                           .value();
  const std::vector<double> losses = {11989.117, 11612.512, 11256.380};
  for (const double want : losses) {
    EXPECT_NEAR(session->Step(Range(0, 8), 0.3, kRate).value().loss, want, 1e-5 * want);
  }
  const auto after = model_->Extend(session->Extract().value()).value();
  const auto state = StateDict(*after).value();
  const std::string first = "encoder.encoder.fc_layers.Layer 0.0.weight";
  ExpectColumn(state, first, 1, {-0.018375458, -0.0082873171, 0.0020022127, -0.0020633591}, 1e-6);
  ExpectColumn(state, first, 2, {-0.016106505, 0.022894796, 0.053697087, 0.0020973878}, 1e-6);
  ExpectColumn(state, "encoder.encoder.fc_layers.Layer 1.0.weight", 1,
               {-0.038056403, -0.031477455, 0.001909222}, 1e-6);
  ExpectColumn(state, "decoder.px_scale_decoder.fc_layers.Layer 0.0.weight", 1,
               {-0.027450439, -0.0099186478, 1.7404e-5}, 1e-6);
  ExpectColumn(state, "background_pro_alpha", 1, {2.9882944, 2.9882379}, 1e-6);
  ExpectColumn(state, "background_pro_log_beta", 1, {0.011867812, 0.011919774}, 1e-6);
  const auto mean = state.at("decoder.sigmoid_decoder.fc_layers.Layer 0.1.running_mean").floats();
  const std::vector<double> want_mean = {6.8708317e-4, -0.010973169, -0.0021553033};
  for (size_t i = 0; i < want_mean.size(); ++i) EXPECT_NEAR(mean[i], want_mean[i], 1e-7) << i;
  const std::vector<int32_t> codes = {2, 3, 2, 3, 2, 3, 2, 3};
  const Embedding z =
      Encode(*after, {cells_.counts, codes, cells_.annotations, cells_.proteins}, CancelToken())
          .value();
  const std::vector<double> want_z = {-0.08625675, 0.05902122, 0.014809432};
  for (size_t d = 0; d < want_z.size(); ++d) EXPECT_NEAR(z.mean[d], want_z[d], 1e-5) << d;
}

}  // namespace
}  // namespace portolan
