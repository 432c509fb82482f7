#include "core/model/annotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/base/field_error.h"
#include "core/surgery/training_session.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;

void ExpectRefused(const absl::Status& status, const std::string& field, const std::string& text) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  const auto violation = GetFieldViolation(status);
  ASSERT_TRUE(violation.has_value()) << status;
  EXPECT_EQ(violation->field, field);
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
}

TEST(CheckAnnotationsTest, WhatTheModelReadsIsAccepted) {
  for (const std::string& variant : VariantNames()) {
    const auto model = LoadVariant(variant);
    const CellAnnotations annotations = AnnotationsFor(*model);
    for (const AnnotationUse use : {AnnotationUse::kEncoding, AnnotationUse::kLoss}) {
      EXPECT_TRUE(CheckAnnotations(model->description(), annotations, 200, use).ok()) << variant;
    }
  }
}

TEST(CheckAnnotationsTest, NothingIsNeededByAModelThatReadsNothing) {
  const auto model = LoadVariant("scvi_poisson");
  EXPECT_TRUE(CheckAnnotations(model->description(), {}, 200, AnnotationUse::kLoss).ok());
}

struct Damage {
  const char* name;
  const char* variant;
  const char* field;
  const char* text;
  std::function<void(CellAnnotations&)> edit;
};

class DamagedAnnotations : public testing::TestWithParam<Damage> {};

TEST_P(DamagedAnnotations, AreRefusedWithTheRemedy) {
  const auto model = LoadVariant(GetParam().variant);
  CellAnnotations annotations = AnnotationsFor(*model);
  GetParam().edit(annotations);
  ExpectRefused(CheckAnnotations(model->description(), annotations, 200, AnnotationUse::kLoss),
                GetParam().field, GetParam().text);
  ConstantNoise noise;
  const std::vector<int32_t> codes(200, 0);
  EXPECT_FALSE(
      NegativeElbo(*model, {Cells().counts, codes, annotations}, noise, CancelToken()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DamagedAnnotations,
    testing::Values(
        Damage{"no_covariates", "scvi_covariates", "covariate", "donor",
               [](auto& a) { a.categorical.clear(); }},
        Damage{"one_too_few", "scvi_covariates", "covariate", "donor",
               [](auto& a) { a.categorical.pop_back(); }},
        Damage{"another_number_of_covariates", "scvi_covariates", "covariate", "donor",
               [](auto& a) { a.n_categorical = 1; }},
        Damage{"a_code_too_large", "scvi_covariates", "covariate", "d1, d2, d3",
               [](auto& a) { a.categorical[0] = 3; }},
        Damage{"a_negative_code", "scvi_covariates", "covariate", "north, south",
               [](auto& a) { a.categorical[1] = -1; }},
        Damage{"no_numbers", "scvi_covariates", "covariate", "age",
               [](auto& a) { a.continuous.clear(); }},
        Damage{"a_number_that_is_none", "scvi_covariates", "covariate", "mito",
               [](auto& a) { a.continuous[1] = std::numeric_limits<float>::quiet_NaN(); }},
        Damage{"an_infinite_number", "scvi_covariates", "covariate", "age",
               [](auto& a) { a.continuous[0] = std::numeric_limits<float>::infinity(); }},
        Damage{"no_size_factors", "scvi_size_factor", "size_factor_key", "size_factor",
               [](auto& a) { a.size_factors.clear(); }},
        Damage{"a_size_factor_of_zero", "scvi_size_factor", "size_factor_key", "above 0",
               [](auto& a) { a.size_factors[7] = 0; }},
        Damage{"no_labels", "scvi_gene_label", "labels_key", "cell_type",
               [](auto& a) { a.labels.clear(); }},
        Damage{"an_unlabelled_cell", "scvi_gene_label", "labels_key", "Monocyte",
               [](auto& a) { a.labels[3] = -1; }},
        Damage{"an_unknown_label", "scvi_gene_label", "labels_key", "Monocyte",
               [](auto& a) { a.labels[3] = 4; }},
        Damage{"a_label_beyond_scanvis", "scanvi_batchnorm", "labels_key", "Monocyte",
               [](auto& a) { a.labels.assign(200, 3); }}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(CheckAnnotationsTest, AnEncodingNeedsWhatTheEncoderSees) {
  const auto model = LoadVariant("scvi_covariates");
  EXPECT_FALSE(CheckAnnotations(model->description(), {}, 200, AnnotationUse::kEncoding).ok());
  ModelDescription decoder_only = model->description();
  decoder_only.architecture.encode_covariates = false;
  EXPECT_TRUE(CheckAnnotations(decoder_only, {}, 200, AnnotationUse::kEncoding).ok());
  EXPECT_FALSE(CheckAnnotations(decoder_only, {}, 200, AnnotationUse::kLoss).ok());
  // Size factors and labels never reach an encoder.
  for (const char* variant : {"scvi_size_factor", "scvi_gene_label"}) {
    EXPECT_TRUE(
        CheckAnnotations(LoadVariant(variant)->description(), {}, 200, AnnotationUse::kEncoding)
            .ok());
  }
}

TEST(CheckAnnotationsTest, CovariatesMoveLatents) {
  const auto model = LoadVariant("scvi_covariates");
  const std::vector<int32_t> codes(200, 0);
  const CellAnnotations plain = AnnotationsFor(*model);
  const auto encode = [&](const CellAnnotations& annotations) {
    return Encode(*model, {Cells().counts, codes, annotations}, CancelToken()).value().mean;
  };
  CellAnnotations donors = plain;
  for (size_t i = 0; i < donors.categorical.size(); i += 2) {
    donors.categorical[i] = (donors.categorical[i] + 1) % 3;
  }
  EXPECT_NE(encode(donors), encode(plain));
  CellAnnotations ages = plain;
  for (size_t i = 0; i < ages.continuous.size(); i += 2) ages.continuous[i] += 1;
  EXPECT_NE(encode(ages), encode(plain));
}

}  // namespace
}  // namespace portolan
