#include "core/matrix/gene_alignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::vector<std::string>;

Names Numbered(const std::string& prefix, int from, int to, const std::string& suffix = "") {
  Names out;
  for (int i = from; i < to; ++i) out.push_back(absl::StrCat(prefix, i, suffix));
  return out;
}

TEST(GeneAlignment, ReportsMissingExtraDuplicatedAndReordered) {
  const Names reference = {"A", "B", "C", "D", "E"};
  const Names query = {"C", "x", "A", "C", "E", "y"};
  const auto alignment = GeneAlignment::Create(reference, query, {});
  ASSERT_TRUE(alignment.ok()) << alignment.status();
  std::vector<int> columns;
  for (int i = 0; i < 6; ++i) columns.push_back(alignment->reference_column(i));
  EXPECT_THAT(columns, ElementsAre(2, -1, 0, 2, 4, -1));
  const GeneReport& report = alignment->report();
  EXPECT_EQ(report.reference_genes, 5);
  EXPECT_EQ(report.matched, 3);
  EXPECT_THAT(report.missing, ElementsAre("B", "D"));
  EXPECT_EQ(report.extra, 2);
  EXPECT_THAT(report.duplicated, ElementsAre("C"));
  EXPECT_TRUE(report.reordered);
}

TEST(GeneAlignment, TheSameOrderWithGapsIsNotReordered) {
  const Names reference = {"A", "B", "C", "D"};
  const Names query = {"A", "x", "C", "D", "A"};
  const auto alignment = GeneAlignment::Create(reference, query, {});
  ASSERT_TRUE(alignment.ok());
  EXPECT_FALSE(alignment->report().reordered);
}

TEST(GeneAlignment, RefusesTooSmallAShareWithBothCounts) {
  const Names reference = Numbered("G", 0, 10);
  const Names query = Numbered("G", 6, 20);
  const auto status = GeneAlignment::Create(reference, query, {}).status();
  EXPECT_EQ(GetFieldViolation(status)->field, "var_names");
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("4 of the reference's 10"), HasSubstr("40.0%"), HasSubstr("50.0%"),
                    HasSubstr("query's 14"), HasSubstr("G0, G1, G2"), HasSubstr("G6, G7, G8")));
  EXPECT_TRUE(GeneAlignment::Create(reference, query, {}, {.min_share = 0.4}).ok());
}

std::string Refusal(const Names& reference, const Names& query, const Names& cells = {}) {
  const auto status = GeneAlignment::Create(reference, query, cells).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(GeneAlignment, RecognisesATransposedMatrix) {
  const auto status =
      GeneAlignment::Create(Numbered("G", 0, 10), Numbered("cell", 0, 30), Numbered("G", 0, 12))
          .status();
  EXPECT_EQ(GetFieldViolation(status)->field, "X");
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("transposed"), HasSubstr("adata.T")));
}

TEST(GeneAlignment, RecognisesOtherKindsOfNames) {
  const Names ids = Numbered("ENSG00000000", 100, 120);
  const Names versioned = Numbered("ENSG00000000", 100, 120, ".12");
  const Names symbols = Numbered("GENE", 0, 20);
  EXPECT_THAT(Refusal(ids, versioned), HasSubstr("version suffix"));
  EXPECT_THAT(Refusal(versioned, ids), HasSubstr("version suffix"));
  EXPECT_THAT(Refusal(symbols, Numbered("Gene", 0, 20)), HasSubstr("upper and lower case"));
  EXPECT_THAT(Refusal(ids, symbols), HasSubstr("reference uses Ensembl ids"));
  EXPECT_THAT(Refusal(symbols, ids), HasSubstr("query uses Ensembl ids"));
  EXPECT_THAT(Refusal(symbols, Numbered("OTHER", 0, 20)), HasSubstr("none of the reference's 20"));
  EXPECT_THAT(Refusal(symbols, {}), HasSubstr("none of the reference's 20"));
}

TEST(GeneAlignment, RefusesAReferenceWithAGeneTwice) {
  EXPECT_THAT(Refusal({"A", "A"}, {"A"}), HasSubstr("more than once"));
}

}  // namespace
}  // namespace portolan
