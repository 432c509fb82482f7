#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/model/model.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

class EncodeVariant : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = LoadVariant(GetParam());
    codes_ = Cells().batch_codes;
    if (model_->description().architecture.n_batch == 1) codes_.assign(codes_.size(), 0);
  }

  Embedding EncodeRows(const std::vector<int64_t>& rows) const {
    std::vector<int32_t> codes;
    for (const int64_t row : rows) codes.push_back(codes_[row]);
    const CellAnnotations annotations = AnnotationsFor(*model_).SelectRows(rows);
    return Encode(*model_, {Cells().counts.SelectRows(rows), codes, annotations}, CancelToken())
        .value();
  }

  static std::vector<float> Row(const std::vector<float>& values, int64_t row, int64_t width) {
    return {values.begin() + row * width, values.begin() + (row + 1) * width};
  }

  std::shared_ptr<const Model> model_;
  std::vector<int32_t> codes_;
};

TEST_P(EncodeVariant, ShapesAndValuesAreSound) {
  const Embedding z = EncodeRows(Range(0, 200));
  const Architecture& a = model_->description().architecture;
  EXPECT_EQ(z.cells, 200);
  EXPECT_EQ(z.n_latent, a.n_latent);
  EXPECT_EQ(z.mean.size(), 200u * a.n_latent);
  EXPECT_EQ(z.variance.size(), 200u * a.n_latent);
  for (const float value : z.mean) EXPECT_TRUE(std::isfinite(value));
  for (const float value : z.variance) EXPECT_GE(value, 1e-4f);
  const bool scanvi = model_->description().model_class == ModelClass::kScanvi;
  EXPECT_EQ(z.n_labels, scanvi ? 3 : 0);
  ASSERT_EQ(z.probabilities.size(), 200u * z.n_labels);
  for (int64_t i = 0; scanvi && i < 200; ++i) {
    const std::vector<float> p = Row(z.probabilities, i, 3);
    EXPECT_NEAR(p[0] + p[1] + p[2], 1, 1e-6);
  }
}

TEST_P(EncodeVariant, ARowDependsOnItsCellAlone) {
  const Embedding all = EncodeRows(Range(0, 200));
  std::vector<std::vector<int64_t>> selections;
  for (const int64_t n : {1, 2, 127, 128, 129, 200}) selections.push_back(Range(0, n));
  std::vector<int64_t> shuffled = Range(0, 200);
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(5));
  selections.push_back(shuffled);
  selections.push_back({42, 42, 7, 42});
  for (const auto& rows : selections) {
    const Embedding some = EncodeRows(rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      ASSERT_EQ(Row(some.mean, at, all.n_latent), Row(all.mean, rows[i], all.n_latent));
      ASSERT_EQ(Row(some.variance, at, all.n_latent), Row(all.variance, rows[i], all.n_latent));
      if (!all.location.empty()) {
        ASSERT_EQ(Row(some.location, at, all.n_latent), Row(all.location, rows[i], all.n_latent));
      }
      ASSERT_EQ(Row(some.probabilities, at, all.n_labels),
                Row(all.probabilities, rows[i], all.n_labels));
    }
  }
}

TEST_P(EncodeVariant, TheBatchMattersIfAndOnlyIfTheEncoderSeesIt) {
  const Architecture& a = model_->description().architecture;
  if (a.n_batch < 2) GTEST_SKIP() << "one batch has no columns";
  const CsrMatrix& counts = Cells().counts;
  const auto as = [&](int32_t code) {
    const CellAnnotations annotations = AnnotationsFor(*model_);
    const std::vector<int32_t> codes(200, code);
    return Encode(*model_, {counts, codes, annotations}, CancelToken()).value().mean;
  };
  EXPECT_EQ(as(0) != as(1), a.encode_covariates);
}

INSTANTIATE_TEST_SUITE_P(Variants, EncodeVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(EncodeTest, NoCellsGiveAnEmptyEmbedding) {
  CsrMatrix none;
  none.cols = 64;
  const Embedding z = Encode(*LoadVariant("scvi_poisson"), {none, {}}, CancelToken()).value();
  EXPECT_EQ(z.cells, 0);
  EXPECT_TRUE(z.mean.empty());
}

TEST(EncodeTest, ObeysACancel) {
  const CancelToken cancel;
  cancel.Cancel();
  const auto z =
      Encode(*LoadVariant("scvi_poisson"), {Cells().counts, Cells().batch_codes}, cancel);
  EXPECT_EQ(z.status().code(), absl::StatusCode::kCancelled);
}

TEST(EncodeTest, AnUnknownBatchCodeIsAnErrorNotACrash) {
  for (const int32_t code : {2, -3, 1 << 30}) {
    std::vector<int32_t> codes(200, 0);
    codes[150] = code;
    const auto z = Encode(*LoadVariant("scvi_poisson"), {Cells().counts, codes}, CancelToken());
    EXPECT_EQ(z.status().code(), absl::StatusCode::kInternal) << code;
  }
}

}  // namespace
}  // namespace portolan
