#include "core/surgery/scvi_layout.h"

#include <gtest/gtest.h>

#include "core/model/state_dict.h"
#include "core/surgery/column_init.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr char kDecoder[] = "decoder.px_decoder.fc_layers.Layer 0.0.weight";

TrainingCells BatchesOf(const std::vector<std::string>& names) {
  TrainingCells cells;
  cells.batches = names;
  return cells;
}

// The weight of the decoder's first layer after load_query_data, row-major.
HostTensor AfterScvi(const Model& model, const std::vector<std::string>& batches) {
  const ScviLayout layout = ScviColumns(model, InitialColumns(model, BatchesOf(batches), 1),
                                        InitialColumns(model, BatchesOf({"a"}), 1));
  Extension extension = layout.moved;
  extension.batches = batches;
  extension.columns = layout.columns;
  return StateDict(*model.Extend(extension).value()).value().at(kDecoder);
}

TEST(ScviLayoutTest, KnownColumnsStayWhereTheyStandInTheFile) {
  const auto model = LoadVariant("scvi_covariates");
  ASSERT_TRUE(MovesColumns(*model));
  const HostTensor before = StateDict(*model).value().at(kDecoder);
  const auto drawn = InitialColumns(*model, BatchesOf({"q1", "q2"}), 1).at(kDecoder);
  const HostTensor after = AfterScvi(*model, {"q1", "q2"});
  const int64_t old_width = before.shape()[1];
  ASSERT_EQ(after.shape()[1], old_width + 2);
  for (int64_t row = 0; row < before.shape()[0]; ++row) {
    const float* const is = after.floats().data() + row * (old_width + 2);
    for (int64_t j = 0; j < old_width; ++j) {
      ASSERT_EQ(is[j], before.floats()[row * old_width + j]) << j;
    }
    for (int64_t b = 0; b < 2; ++b) {
      ASSERT_EQ(is[old_width + b], drawn.floats()[b * before.shape()[0] + row]);
    }
  }
}

TEST(ScviLayoutTest, AReferenceOfOneBatchGetsAColumnAsNewAsTheQuerys) {
  for (const char* variant : {"scvi_one_batch", "scvi_covariates_one_batch"}) {
    const auto model = LoadVariant(variant);
    ASSERT_TRUE(MovesColumns(*model));
    const HostTensor before = StateDict(*model).value().at(kDecoder);
    const auto own = InitialColumns(*model, BatchesOf({"a"}), 1).at(kDecoder);
    const HostTensor after = AfterScvi(*model, {"q"});
    const int64_t old_width = before.shape()[1];
    ASSERT_EQ(after.shape()[1], old_width + 2);
    for (int64_t row = 0; row < before.shape()[0]; ++row) {
      ASSERT_EQ(after.floats()[row * (old_width + 2) + old_width], own.floats()[row]) << variant;
    }
  }
}

TEST(ScviLayoutTest, OtherModelsKeepTheirLayout) {
  for (const char* variant : {"scvi_poisson", "scvi_embedding", "scanvi_batchnorm"}) {
    const auto model = LoadVariant(variant);
    EXPECT_FALSE(MovesColumns(*model)) << variant;
    const auto drawn = InitialColumns(*model, BatchesOf({"q"}), 1);
    const ScviLayout layout = ScviColumns(*model, drawn, drawn);
    EXPECT_TRUE(layout.moved.replaced.empty());
    EXPECT_EQ(layout.columns.size(), drawn.size());
  }
}

TEST(ScviLayoutTest, MovedColumnsAreAReasonForAFullDelta) {
  FreezeFlags freeze;
  freeze.scvi_columns = true;
  EXPECT_FALSE(FullDeltaReasons(*LoadVariant("scvi_one_batch"), freeze, {}).empty());
  EXPECT_FALSE(FullDeltaReasons(*LoadVariant("scvi_covariates"), freeze, {}).empty());
  EXPECT_TRUE(FullDeltaReasons(*LoadVariant("scvi_poisson"), freeze, {}).empty());
  EXPECT_TRUE(FullDeltaReasons(*LoadVariant("scvi_covariates"), {}, {}).empty());
}

TEST(ScviLayoutTest, WhatWasTrainedWinsOverWhatWasMoved) {
  ScviLayout layout;
  layout.moved.replaced["x"] = HostTensor::FromFloats({1}, std::vector<float>{1.0f});
  layout.moved.replaced["y"] = HostTensor::FromFloats({1}, std::vector<float>{2.0f});
  Extension trained;
  trained.replaced["x"] = HostTensor::FromFloats({1}, std::vector<float>{3.0f});
  const Extension both = OnOriginal(layout, trained);
  EXPECT_EQ(both.replaced.at("x").floats()[0], 3.0f);
  EXPECT_EQ(both.replaced.at("y").floats()[0], 2.0f);
}

}  // namespace
}  // namespace portolan
