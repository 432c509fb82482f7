#include "core/model/expression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/base/field_error.h"
#include "core/surgery/training_cells.h"
#include "tests/core/model/model_fixtures.h"
#include "tests/core/totalvi/protein_fixtures.h"

namespace portolan {
namespace {

ExpressionOptions Everything() {
  ExpressionOptions options;
  options.genes.resize(64);
  options.proteins.resize(12);
  std::iota(options.genes.begin(), options.genes.end(), 0);
  std::iota(options.proteins.begin(), options.proteins.end(), 0);
  options.foreground = true;
  return options;
}

ExpressionBlock Compute(const Model& model, const TrainingCells& cells,
                        const ExpressionOptions& options) {
  CellNoise noise(5, cells);
  return Express(model, cells.inputs(), options, noise, CancelToken()).value();
}

TEST(ExpressionTest, ACellsValuesAreItsOwn) {
  const auto model = LoadProteinModel("totalvi_zinb_batchnorm");
  ExpressionOptions options = Everything();
  options.samples = 3;
  const TrainingCells all = ProteinQuery({{"all", Range(0, 200), {}}});
  const TrainingCells some = ProteinQuery({{"all", Range(150, 200), {}}});
  const ExpressionBlock whole = Compute(*model, all, options);
  const ExpressionBlock part = Compute(*model, some, options);
  ASSERT_EQ(whole.genes.size(), 200u * 64);
  ASSERT_EQ(whole.foreground.size(), 200u * 12);
  EXPECT_TRUE(std::equal(part.genes.begin(), part.genes.end(), whole.genes.begin() + 150 * 64));
  EXPECT_TRUE(
      std::equal(part.proteins.begin(), part.proteins.end(), whole.proteins.begin() + 150 * 12));
}

TEST(ExpressionTest, ChosenFeaturesAreColumnsOfAll) {
  const auto model = LoadProteinModel("totalvi_nb");
  const TrainingCells& cells = ProteinCells();
  const ExpressionBlock all = Compute(*model, cells, Everything());
  ExpressionOptions options;
  options.genes = {63, 5};
  options.proteins = {7};
  const ExpressionBlock few = Compute(*model, cells, options);
  EXPECT_TRUE(few.foreground.empty());
  for (int row : {0, 130, 199}) {
    EXPECT_EQ(few.genes[row * 2], all.genes[row * 64 + 63]);
    EXPECT_EQ(few.genes[row * 2 + 1], all.genes[row * 64 + 5]);
    EXPECT_EQ(few.proteins[row], all.proteins[row * 12 + 7]);
  }
}

TEST(ExpressionTest, SharesSumToTheLibrarySize) {
  const auto model = LoadProteinModel("totalvi_nb");
  const TrainingCells& cells = ProteinCells();
  ExpressionOptions options = Everything();
  options.library_size = 1e4;
  options.transform_batches = {0, 1};
  options.scale_protein = true;
  const ExpressionBlock scaled = Compute(*model, cells, options);
  const auto sum = [](const std::vector<float>& v, size_t row, size_t width) {
    return std::accumulate(v.begin() + row * width, v.begin() + (row + 1) * width, 0.0);
  };
  EXPECT_NEAR(sum(scaled.genes, 3, 64), 1e4, 1);
  EXPECT_NEAR(sum(scaled.proteins, 3, 12), 1, 1e-5);
  options.library_size = std::nullopt;
  const ExpressionBlock own = Compute(*model, cells, options);
  double counts = 0;
  for (const float count : cells.counts.row_values(3)) counts += count;
  EXPECT_NEAR(sum(own.genes, 3, 64), counts, 1e-4 * counts);
}

TEST(ExpressionTest, DeterministicNeedsNoNoise) {
  const auto model = LoadProteinModel("totalvi_missing");
  const TrainingCells& cells = ProteinCells();
  ExpressionOptions options = Everything();
  options.deterministic = true;
  const ExpressionBlock a = Compute(*model, cells, options);
  options.samples = 7;
  CellNoise other(6, cells);
  const ExpressionBlock b = Express(*model, cells.inputs(), options, other, CancelToken()).value();
  EXPECT_EQ(a.genes, b.genes);
  EXPECT_EQ(a.proteins, b.proteins);
  for (const float p : a.foreground) EXPECT_TRUE(p > 0 && p < 1);
}

TEST(ExpressionTest, AnotherBatchGivesOtherProteinsAndTheirAverageLiesBetween) {
  const auto model = LoadProteinModel("totalvi_nb");
  const TrainingCells& cells = ProteinCells();
  ExpressionOptions options = Everything();
  options.deterministic = true;
  options.transform_batches = {0};
  const ExpressionBlock a = Compute(*model, cells, options);
  options.transform_batches = {1};
  const ExpressionBlock b = Compute(*model, cells, options);
  options.transform_batches = {0, 1};
  const ExpressionBlock both = Compute(*model, cells, options);
  EXPECT_NE(a.proteins, b.proteins);
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(both.proteins[i], (a.proteins[i] + b.proteins[i]) / 2, 1e-4 * both.proteins[i]);
  }
}

TEST(ExpressionTest, ModelsOfGenesAloneGiveGenes) {
  const auto model = LoadVariant("scvi_latent_library");
  const TrainingCells cells = QueryOf({{"a", Range(0, 50)}});
  ExpressionOptions options;
  options.genes = {0, 1};
  options.library_size = std::nullopt;
  const ExpressionBlock block = Compute(*model, cells, options);
  ASSERT_EQ(block.genes.size(), 100u);
  for (const float value : block.genes) EXPECT_TRUE(std::isfinite(value) && value > 0);
  EXPECT_TRUE(block.proteins.empty());
}

TEST(ExpressionTest, WhatAModelDoesNotHaveIsNamed) {
  const auto model = LoadProteinModel("totalvi_nb");
  const auto field = [&](const ExpressionOptions& options) {
    const absl::Status status = CheckExpressionOptions(*model, options);
    return GetFieldViolation(status).has_value() ? GetFieldViolation(status)->field : "";
  };
  EXPECT_EQ(field({.genes = {64}}), "genes");
  EXPECT_EQ(field({.proteins = {-1}}), "proteins");
  EXPECT_EQ(field({.transform_batches = std::vector<int32_t>{2}}), "transform_batch");
  EXPECT_EQ(field({.transform_batches = std::vector<int32_t>{}}), "transform_batch");
  EXPECT_EQ(field({.samples = 0}), "samples");
  EXPECT_EQ(field({.library_size = std::nan("")}), "library_size");
  EXPECT_EQ(field({}), "");
}

}  // namespace
}  // namespace portolan
