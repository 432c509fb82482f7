#include "core/matrix/protein_panel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"

namespace portolan {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using Names = std::vector<std::string>;

std::string MessageOf(const Names& reference, const Names& query) {
  const auto alignment = ProteinAlignment::Create(reference, query);
  EXPECT_EQ(alignment.status().code(), absl::StatusCode::kInvalidArgument) << alignment.status();
  const auto violation = GetFieldViolation(alignment.status());
  EXPECT_TRUE(violation.has_value() && violation->field == "proteins");
  return std::string(alignment.status().message());
}

TEST(NormalisedProteinName, DropsCaseSuffixesAndKindsOfSeparators) {
  for (const char* name : {"CD8a_TotalSeqB", "CD8A-TotalSeqB", "cd8a", "CD8a_TotalSeq-C",
                           "CD8a.protein", "CD8a_TotalSeqB_prot", "CD8a_ADT"}) {
    EXPECT_EQ(NormalisedProteinName(name), "cd8a") << name;
  }
  EXPECT_EQ(NormalisedProteinName("PD-1_TotalSeqB"), "pd-1");
  EXPECT_EQ(NormalisedProteinName("PD.1"), "pd-1");
  EXPECT_EQ(NormalisedProteinName("HLA DR"), "hla-dr");
}

TEST(NormalisedProteinName, KeepsWhatTellsProteinsApart) {
  EXPECT_NE(NormalisedProteinName("CD45RA"), NormalisedProteinName("CD45RO"));
  // A second CD3, made unique, is not CD31.
  EXPECT_NE(NormalisedProteinName("CD3.1"), NormalisedProteinName("CD31"));
  EXPECT_NE(NormalisedProteinName("IgG1_control_TotalSeqB"), NormalisedProteinName("IgG1"));
  // A name that is nothing but a suffix stays.
  EXPECT_EQ(NormalisedProteinName("_TotalSeqB"), "-totalseqb");
  EXPECT_EQ(NormalisedProteinName(""), "");
}

TEST(ProteinAlignment, MatchesExactlyFirstThenByNormalisedName) {
  const auto alignment = ProteinAlignment::Create(
      Names{"CD3_TotalSeqB", "CD4_TotalSeqB", "PD-1_TotalSeqB", "TIGIT_TotalSeqB"},
      Names{"CD19", "PD.1", "CD4_TotalSeqB", "cd3-TotalSeqC"});
  ASSERT_TRUE(alignment.ok()) << alignment.status();
  std::vector<int> columns;
  for (int i = 0; i < 4; ++i) columns.push_back(alignment->reference_column(i));
  EXPECT_THAT(columns, ElementsAre(-1, 2, 1, 0));
  EXPECT_THAT(alignment->present(), ElementsAre(1, 1, 1, 0));
  const ProteinReport& report = alignment->report();
  EXPECT_EQ(report.reference_proteins, 4);
  EXPECT_EQ(report.matched, 3);
  EXPECT_THAT(report.renamed,
              ElementsAre(Pair("PD.1", "PD-1_TotalSeqB"), Pair("cd3-TotalSeqC", "CD3_TotalSeqB")));
  EXPECT_THAT(report.missing, ElementsAre("TIGIT_TotalSeqB"));
  EXPECT_THAT(report.extra, ElementsAre("CD19"));
}

TEST(ProteinAlignment, AnExactNameLeavesItsTwinsOut) {
  const auto alignment =
      ProteinAlignment::Create(Names{"CD3", "CD4"}, Names{"cd3", "CD3_TotalSeqB", "CD3", "CD4"});
  ASSERT_TRUE(alignment.ok()) << alignment.status();
  EXPECT_EQ(alignment->reference_column(2), 0);
  EXPECT_THAT(alignment->report().renamed, IsEmpty());
  EXPECT_THAT(alignment->report().extra, ElementsAre("cd3", "CD3_TotalSeqB"));
}

TEST(ProteinAlignment, RefusesWhatIsAmbiguous) {
  EXPECT_THAT(MessageOf({"CD3", "CD4"}, {"CD3_TotalSeqB", "CD3_TotalSeqC", "CD4"}),
              HasSubstr("CD3_TotalSeqB and CD3_TotalSeqC of the query could both be CD3. Rename"));
  EXPECT_THAT(MessageOf({"CD3_TotalSeqA", "CD3_TotalSeqB", "CD4"}, {"CD3", "CD4"}),
              HasSubstr("CD3_TotalSeqA and CD3_TotalSeqB of the reference could both be CD3"));
  EXPECT_THAT(MessageOf({"CD3"}, {"CD3", "CD3"}), HasSubstr("CD3 twice among the query's"));
  EXPECT_THAT(MessageOf({"CD3", "CD3"}, {"CD3"}), HasSubstr("CD3 twice among the reference's"));
}

TEST(ProteinAlignment, RefusesPanelsThatDoNotMeet) {
  EXPECT_THAT(MessageOf({"CD3", "CD4"}, {"0", "1", "2"}),
              AllOf(HasSubstr("none of the reference's 2 proteins is among the query's 3"),
                    HasSubstr("begins with CD3, CD4; the query with 0, 1, 2")));
  EXPECT_THAT(MessageOf({"CD3"}, {}), HasSubstr("none of the reference's 1"));
}

}  // namespace
}  // namespace portolan
