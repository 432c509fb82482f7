#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;
using testing_io::ReadAll;
using testing_io::Readback;
using testing_io::SharedDataPath;
using testing_io::TempPath;
using Names = std::vector<std::string>;

std::string Table(const std::string& text) {
  std::string path = TempPath("table");
  testing_io::WriteBytes(path, text);
  return path;
}

void ExpectCounts(const Readback& got) {
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(got.genes, ElementsAre("CD3D", "CD19", "MS4A1"));
  EXPECT_THAT(got.rows, ElementsAre(ElementsAre(5, 0, 1), ElementsAre(0, 12, 0)));
}

TEST(TableReader, ReadsCellsByGenes) {
  for (const char* text : {
           ",CD3D,CD19,MS4A1\nc1,5,0,1\nc2,0,12,0\n",
           "cell\tCD3D\tCD19\tMS4A1\r\nc1\t5\t0\t1\r\nc2\t0\t12\t0",
           "CD3D;CD19;MS4A1\nc1;5.0;0;1\nc2;0;1.2e1;0\n\n",
           "\xef\xbb\xbf\"\",\"CD3D\",\"CD19\",\"MS4A1\"\n\"c1\",\"5\",0,1\n\"c2\", 0 ,12,0\n",
       }) {
    for (const int64_t max_rows : {1, 100}) ExpectCounts(ReadAll(Table(text), "X", max_rows));
  }
}

TEST(TableReader, FindsTheOrientationByTheReference) {
  const std::string path = Table(",c1,c2\nCD3D,5,0\nCD19,0,12\nMS4A1,1,0\n");
  const Names reference = {"CD19", "CD3D", "X"};
  for (const int64_t max_rows : {1, 100}) ExpectCounts(ReadAll(path, "X", max_rows, reference));
  EXPECT_THAT(ReadAll(path).genes, ElementsAre("c1", "c2"));
  const auto reader = OpenQuery(path, {.reference_genes = reference});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT((*reader)->cell_names(), ElementsAre("c1", "c2"));
}

TEST(TableReader, TakesColumnsOfTextForObs) {
  const std::string path =
      Table("cell,batch,CD3D,CD19,note,MS4A1\nc1,lab a,5,0,NA,1\nc2,\"b, c\",0,12,3,0\n");
  ExpectCounts(ReadAll(path));
  const auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT((*reader)->ObsColumnNames(), ElementsAre("batch", "note"));
  EXPECT_THAT((*reader)->ReadObs("batch")->values,
              ElementsAre(Optional(std::string("lab a")), Optional(std::string("b, c"))));
  EXPECT_THAT((*reader)->ReadObs("note")->values,
              ElementsAre(std::nullopt, Optional(std::string("3"))));
  EXPECT_FALSE((*reader)->ReadObs("CD3D").ok());
  EXPECT_THAT((*reader)->DeclaredProteins(), IsEmpty());
  EXPECT_EQ((*reader)->ProteinNames({"adt", ""}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

struct Broken {
  const char* name;
  const char* text;
  const char* reason;
};

class BrokenTable : public testing::TestWithParam<Broken> {};

TEST_P(BrokenTable, IsRefusedWithTheReason) {
  const absl::Status status = ReadAll(Table(GetParam().text)).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    Texts, BrokenTable,
    testing::Values(
        Broken{"no_rows", ",A,B\n", "0 cells"},
        Broken{"short_row", ",A,B\nc1,1,2\nc2,1\n", "line 3 has 2 fields, the first line 3"},
        Broken{"long_row", ",A,B\nc1,1,2\nc2,1,2,3\n", "line 3 has 4 fields"},
        Broken{"other_width", "A,B\nc1,1,2,3\n", "line 2 has 4 fields, the first line 2"},
        Broken{"a_word", ",A,B\nc1,1,2\nc2,1,many\n", "line 3, column B: 'many' is no number"},
        Broken{"empty_field", ",A,B\nc1,1,2\nc2,1,\n", "column B: '' is no number"},
        Broken{"fraction", ",A,B\nc1,1,2\nc2,1,0.5\n", "0.5 in row 1, which is fractional"},
        Broken{"negative", ",A,B\nc1,1,-2\n", "negative"},
        Broken{"infinite", ",A,B\nc1,1,inf\n", "not a finite number"},
        Broken{"no_numbers", ",A,B\nc1,a,b\n", "0 genes"},
        Broken{"a_cell_twice", ",A,B\nc1,1,2\nc1,3,4\n", "repeat an earlier one"},
        Broken{"words", "just a few words\n", "no table"},
        Broken{"a_web_page", "<!DOCTYPE html>\n,\n", "web page"}),
    [](const auto& test) { return test.param.name; });

TEST(TableReader, RefusesAnotherMatrixThanX) {
  const absl::Status status = ReadAll(Table(",A\nc1,1\n"), "layers/counts").status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("holds one matrix"));
}

TEST(TableReader, ReadsASharedFile) {
  const std::string path = SharedDataPath("formats/cells_by_genes.csv");
  if (path.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA)";
  const Readback got = ReadAll(path);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(got.rows, SizeIs(88));
  EXPECT_THAT(got.genes, SizeIs(16383));
}

}  // namespace
}  // namespace portolan
