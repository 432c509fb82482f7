#include "client/cli/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "tests/client/h5ad_fixture.h"

namespace portolan::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

v1::Version Reference() {
  v1::Version version;
  version.set_id("aaaa1111");
  for (const char* gene : {"g0", "g1", "g2", "g3"}) version.add_genes(gene);
  version.add_batches("ref1");
  return version;
}

QueryArguments Arguments(const Fixture& fixture) {
  QueryArguments arguments;
  arguments.path = WriteH5ad(fixture);
  arguments.batch_key = "donor";
  return arguments;
}

struct Collected {
  std::vector<std::string> names;
  std::vector<int32_t> codes;
  std::vector<int32_t> columns;
  std::vector<float> values;
  std::vector<int64_t> block_rows;
};

absl::Status Collect(Query& query, Collected& out) {
  return query.ReadCells(CancelToken(), [&](const CellBlock& cells) {
    out.names.insert(out.names.end(), cells.cell_names.begin(), cells.cell_names.end());
    out.codes.insert(out.codes.end(), cells.batch_codes.begin(), cells.batch_codes.end());
    out.columns.insert(out.columns.end(), cells.counts.columns.begin(), cells.counts.columns.end());
    out.values.insert(out.values.end(), cells.counts.values.begin(), cells.counts.values.end());
    out.block_rows.push_back(cells.counts.rows());
    return absl::OkStatus();
  });
}

FieldViolation Violation(const absl::Status& status) {
  EXPECT_FALSE(status.ok());
  return GetFieldViolation(status).value_or(FieldViolation{"none", status.ToString(), ""});
}

TEST(AssignBatchesTest, SortedNamesWhateverTheOrderOfCells) {
  const auto batches = AssignBatches("d", {{"b", "a", "b"}}, {"c0", "c1", "c2"});
  ASSERT_TRUE(batches.ok());
  EXPECT_THAT(batches->names, ElementsAre("a", "b"));
  EXPECT_THAT(batches->codes, ElementsAre(1, 0, 1));
  EXPECT_THAT(batches->cells, ElementsAre(1, 2));
}

TEST(AssignBatchesTest, AMissingValueNamesItsCell) {
  const auto violation = Violation(
      AssignBatches("d", {{"b", std::nullopt, std::nullopt}}, {"c0", "c1", "c2"}).status());
  EXPECT_EQ(violation.field, "batch_key");
  EXPECT_THAT(violation.found, HasSubstr("2 of 3 cells"));
  EXPECT_THAT(violation.found, HasSubstr("'c1'"));
}

TEST(SingleCellBatchTest, IsRefusedUnlessKnown) {
  const std::vector<std::string> cells = {"c0", "c1", "c2"};
  const auto batches = AssignBatches("d", {{"b", "a", "b"}}, cells);
  const auto violation = Violation(RefuseSingleCellBatches(*batches, {"b"}, cells));
  EXPECT_THAT(violation.found, HasSubstr("'a'"));
  EXPECT_THAT(violation.found, HasSubstr("'c1'"));
  EXPECT_TRUE(RefuseSingleCellBatches(*batches, {"a"}, cells).ok());
}

TEST(UnknownBatchTest, NamesItAndTheKnownOnes) {
  const auto batches = AssignBatches("d", {{"ref1", "new"}}, {"c0", "c1"});
  const auto violation = Violation(RefuseUnknownBatches(*batches, Reference()));
  EXPECT_EQ(violation.field, "batch");
  EXPECT_THAT(violation.found, HasSubstr("'new'"));
  EXPECT_THAT(violation.found, HasSubstr("ref1"));
  EXPECT_TRUE(RefuseUnknownBatches(*AssignBatches("d", {{"ref1"}}, {"c0"}), Reference()).ok());
}

TEST(QueryTest, CutsTheFileToTheReferencesGenes) {
  QueryArguments arguments = Arguments(SmallQuery());
  arguments.chunk_cells = 2;
  auto query = Query::Open(arguments, Reference());
  ASSERT_TRUE(query.ok()) << query.status();
  EXPECT_EQ(query->cells(), 5);
  EXPECT_THAT(query->batches().names, ElementsAre("a/b", "c"));
  const v1::GeneReport genes = query->WireGenes();
  EXPECT_EQ(genes.matched(), 3);
  EXPECT_EQ(genes.missing(0), "g2");
  EXPECT_EQ(genes.extra(), 1);
  EXPECT_TRUE(genes.reordered());
  Collected got;
  ASSERT_TRUE(Collect(*query, got).ok());
  EXPECT_THAT(got.block_rows, ElementsAre(2, 2, 1));
  EXPECT_EQ(got.names, SmallQuery().cells);
  EXPECT_THAT(got.codes, ElementsAre(0, 1, 0, 0, 1));
  EXPECT_THAT(got.columns, ElementsAre(0, 3, 1, 3, 0, 0, 1, 3));
  EXPECT_THAT(got.values, ElementsAre(2, 1, 5, 300, 4, 3, 1, 2));
}

TEST(QueryTest, OneBatchForAllCells) {
  QueryArguments arguments = Arguments(SmallQuery());
  arguments.batch_key.clear();
  arguments.batch = "ref1";
  const auto query = Query::Open(arguments, Reference());
  ASSERT_TRUE(query.ok());
  EXPECT_THAT(query->batches().cells, ElementsAre(5));
}

TEST(QueryTest, AMissingColumnListsThoseThatExist) {
  QueryArguments arguments = Arguments(SmallQuery());
  arguments.batch_key = "patient";
  const auto violation = Violation(Query::Open(arguments, Reference()).status());
  EXPECT_EQ(violation.field, "batch_key");
  EXPECT_THAT(violation.found, HasSubstr("'patient'"));
  EXPECT_THAT(violation.found, HasSubstr("donor"));
}

TEST(QueryTest, MissingBatchesAndDoubleCellsAreRefused) {
  Fixture fixture = SmallQuery();
  fixture.batches[3] = std::nullopt;
  EXPECT_EQ(Violation(Query::Open(Arguments(fixture), Reference()).status()).field, "batch_key");
  fixture = SmallQuery();
  fixture.cells[1] = fixture.cells[0];
  EXPECT_THAT(Violation(Query::Open(Arguments(fixture), Reference()).status()).found,
              HasSubstr("cell0"));
}

TEST(QueryTest, NamesThatTheWireCannotCarryAreRefused) {
  for (const char* name : {"caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    Fixture fixture = SmallQuery();
    fixture.cells[2] = name;
    EXPECT_EQ(Violation(Query::Open(Arguments(fixture), Reference()).status()).field, "obs_names");
    fixture = SmallQuery();
    for (auto& batch : fixture.batches) batch = name;
    EXPECT_EQ(Violation(Query::Open(Arguments(fixture), Reference()).status()).field, "batch_key");
  }
  Fixture fixture = SmallQuery();
  fixture.cells = {"caf\u00e9", "\u20ac", "\U0001f9ec", "a", "b"};
  EXPECT_TRUE(Query::Open(Arguments(fixture), Reference()).ok());
}

TEST(QueryTest, TooFewGenesAreRefusedByChoice) {
  QueryArguments arguments = Arguments(SmallQuery());
  arguments.min_gene_share = 0.8;
  EXPECT_FALSE(Query::Open(arguments, Reference()).ok());
  arguments.min_gene_share = 0.75;
  EXPECT_TRUE(Query::Open(arguments, Reference()).ok());
}

TEST(QueryTest, NormalisedValuesPointAtTheLayerWithCounts) {
  Fixture fixture = SmallQuery();
  fixture.layers["counts"] = fixture.x;
  fixture.x[2][0] = 0.5;
  auto query = Query::Open(Arguments(fixture), Reference());
  ASSERT_TRUE(query.ok());
  Collected got;
  const auto violation = Violation(Collect(*query, got));
  EXPECT_EQ(violation.field, "X");
  EXPECT_THAT(violation.found, HasSubstr("0.5"));
  EXPECT_THAT(violation.remedy, HasSubstr("--layer counts"));

  fixture.layers["counts"] = fixture.x;  // no counts there either
  query = Query::Open(Arguments(fixture), Reference());
  EXPECT_THAT(Violation(Collect(*query, got)).remedy, testing::Not(HasSubstr("--layer counts")));
}

}  // namespace
}  // namespace portolan::client
