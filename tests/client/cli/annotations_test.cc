#include "client/cli/annotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"

namespace portolan::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Column = std::vector<std::optional<std::string>>;

/// Two cells with whatever columns a test gives them.
class FakeReader final : public QueryReader {
 public:
  explicit FakeReader(std::map<std::string, Column> columns) : columns_(std::move(columns)) {}

  const std::vector<std::string>& cell_names() const override { return names_; }
  absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource&) override {
    return std::vector<std::string>{"g"};
  }
  std::vector<std::string> ObsColumnNames() const override {
    std::vector<std::string> names;
    for (const auto& [name, values] : columns_) names.push_back(name);
    return names;
  }
  absl::StatusOr<ObsColumn> ReadObs(const std::string& column) override {
    return ObsColumn{columns_.at(column)};
  }
  absl::Status ReadCounts(const MatrixSource&, const GeneAlignment&, int64_t, const CancelToken&,
                          const BlockSink&) override {
    return absl::UnimplementedError("no counts");
  }

 private:
  std::vector<std::string> names_ = {"c0", "c1"};
  std::map<std::string, Column> columns_;
};

v1::Model Model() {
  v1::Model model;
  model.set_model_class("SCANVI");
  model.set_encode_covariates(true);
  auto* donor = model.add_categorical_covariates();
  donor->set_name("donor");
  for (const char* name : {"d1", "d2"}) donor->add_categories(name);
  auto* site = model.add_categorical_covariates();
  site->set_name("site");
  for (const char* name : {"n", "s"}) site->add_categories(name);
  model.add_continuous_covariates("age");
  model.set_size_factor_key("sf");
  model.set_labels_key("type");
  model.set_unlabeled_category("Unknown");
  for (const char* name : {"B", "T"}) model.add_labels(name);
  return model;
}

std::map<std::string, Column> Columns() {
  return {{"donor", {"d2", "d1"}},
          {"site", {"s", "s"}},
          {"age", {"1.5", "-2"}},
          {"sf", {"0.5", "2"}},
          {"type", {"T", "Unknown"}}};
}

absl::StatusOr<CellAnnotations> Read(const std::map<std::string, Column>& columns,
                                     const AnnotationArguments& arguments = {},
                                     AnnotationUse use = AnnotationUse::kMap,
                                     const v1::Model& model = Model()) {
  FakeReader reader(columns);
  return ReadAnnotations(arguments, model, use, reader);
}

void ExpectViolation(const absl::Status& status, const std::string& field,
                     const std::vector<std::string>& texts) {
  const auto violation = GetFieldViolation(status);
  ASSERT_TRUE(violation.has_value()) << status;
  EXPECT_EQ(violation->field, field);
  for (const std::string& text : texts) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }
}

TEST(ReadAnnotationsTest, ReadsWhatTheModelReads) {
  const auto got = Read(Columns());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->n_categorical, 2);
  EXPECT_EQ(got->n_continuous, 1);
  EXPECT_THAT(got->categorical, ElementsAre(1, 1, 0, 1));
  EXPECT_THAT(got->continuous, ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(got->size_factors, ElementsAre(0.5f, 2.0f));
  EXPECT_TRUE(got->labels.empty());  // only where a column is named
}

TEST(ReadAnnotationsTest, LabelsComeFromTheNamedColumn) {
  const auto got = Read(Columns(), {.labels_key = "type"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->labels, ElementsAre(1, -1));
  auto columns = Columns();
  columns["type"] = {std::nullopt, "B"};
  EXPECT_THAT(Read(columns, {.labels_key = "type"})->labels, ElementsAre(-1, 0));
  columns["type"] = {"NK", "B"};
  ExpectViolation(Read(columns, {.labels_key = "type"}).status(), "labels_key",
                  {"'NK'", "'c0'", "B, T", "Unknown"});
  v1::Model scvi = Model();
  scvi.clear_labels();
  ExpectViolation(Read(Columns(), {.labels_key = "type"}, AnnotationUse::kMap, scvi).status(),
                  "labels_key", {"reads no labels"});
}

TEST(ReadAnnotationsTest, ADispersionPerLabelNeedsEveryLabel) {
  v1::Model model = Model();
  model.clear_labels();
  model.set_reads_labels(true);
  for (const char* name : {"B", "T", "Unknown"}) model.add_label_categories(name);
  EXPECT_THAT(Read(Columns(), {}, AnnotationUse::kMap, model)->labels, ElementsAre(1, 2));
  auto columns = Columns();
  columns["type"] = {"T", std::nullopt};
  ExpectViolation(Read(columns, {}, AnnotationUse::kMap, model).status(), "labels_key", {"'c1'"});
  columns.erase("type");
  ExpectViolation(Read(columns, {}, AnnotationUse::kMap, model).status(), "labels_key",
                  {"'type'", "--labels-key"});
}

TEST(ReadAnnotationsTest, ColumnsMayHaveOtherNames) {
  auto columns = Columns();
  columns["who"] = columns["donor"];
  columns["depth"] = columns["sf"];
  columns.erase("donor");
  columns.erase("sf");
  ExpectViolation(Read(columns).status(), "covariate",
                  {"'donor'", "depth", "who", "--covariate donor=COLUMN"});
  const auto got = Read(columns, {.covariates = {{"donor", "who"}}, .size_factor_key = "depth"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->categorical, ElementsAre(1, 1, 0, 1));
  ExpectViolation(Read(columns, {.covariates = {{"donor", "who"}}}).status(), "size_factor_key",
                  {"'sf'", "--size-factor-key"});
  ExpectViolation(Read(columns, {.covariates = {{"color", "who"}}}).status(), "covariate",
                  {"'color'", "age, donor, site"});
}

TEST(ReadAnnotationsTest, AnUnknownCategoryIsNamedWithTheKnownOnes) {
  auto columns = Columns();
  columns["site"] = {"s", "e"};
  ExpectViolation(Read(columns).status(), "covariate", {"'e'", "'site'", "'c1'", "n, s"});
  columns["site"] = {std::nullopt, "s"};
  ExpectViolation(Read(columns).status(), "covariate", {"'c0'", "no value"});
}

TEST(ReadAnnotationsTest, ANumberIsANumber) {
  for (const char* text : {"old", "nan", "inf", "", "1e99"}) {
    auto columns = Columns();
    columns["age"][1] = text;
    ExpectViolation(Read(columns).status(), "covariate", {"'c1'", "finite"});
  }
  for (const char* text : {"0", "-1", "nan", "x"}) {
    auto columns = Columns();
    columns["sf"][0] = text;
    ExpectViolation(Read(columns).status(), "size_factor_key", {"'c0'", "above 0"});
  }
}

TEST(ReadAnnotationsTest, AnEmbeddingNeedsWhatTheEncoderSees) {
  const auto seen = Read(Columns(), {}, AnnotationUse::kEmbed);
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->categorical.size(), 4u);
  EXPECT_TRUE(seen->size_factors.empty());
  v1::Model model = Model();
  model.set_encode_covariates(false);
  const auto unseen = Read({}, {}, AnnotationUse::kEmbed, model);
  ASSERT_TRUE(unseen.ok()) << unseen.status();
  EXPECT_TRUE(unseen->categorical.empty());
}

TEST(ParseCovariatesTest, TakesPairs) {
  const auto parsed = ParseCovariates({"donor=who", "age=years=old"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->at("donor"), "who");
  EXPECT_EQ(parsed->at("age"), "years=old");
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{"donor"}, {"=who"}, {"donor="}, {""}, {"donor=a", "donor=b"}}) {
    ExpectViolation(ParseCovariates(bad).status(), "covariate", {});
  }
}

}  // namespace
}  // namespace portolan::client
