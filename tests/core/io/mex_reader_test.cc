#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>

#include "core/base/field_error.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing_io::ReadAll;
using testing_io::Readback;
using testing_io::ReadProteins;
using testing_io::SharedDataPath;
using testing_io::TempPath;
using testing_io::WriteBytes;
using Names = std::vector<std::string>;

constexpr char kBarcodes[] = "AAA-1\nCCC-1\nGGG-1\n";
constexpr char kFeatures[] =
    "ENSG1\tCD3D\tGene Expression\nENSG2\tCD19\tGene Expression\n"
    "ADT_CD3\tCD3_TotalSeqB\tAntibody Capture\nENSG3\tMS4A1\tGene Expression\n";
// Cell by cell; the second cell has no counts.
constexpr char kMatrix[] =
    "%%MatrixMarket matrix coordinate integer general\n%metadata\n4 3 5\n1 1 5\n3 1 40\n4 1 1\n"
    "2 3 7\n3 3 2\n";

void WriteGzip(const std::string& path, const std::string& text) {
  gzFile const file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

std::string Folder(const std::string& matrix = kMatrix, const std::string& features = kFeatures,
                   const std::string& barcodes = kBarcodes, const std::string& prefix = "") {
  std::string path = TempPath("mex");
  std::filesystem::remove_all(path);
  std::filesystem::create_directory(path);
  WriteBytes(path + "/" + prefix + "matrix.mtx", matrix);
  WriteBytes(path + "/" + prefix + "features.tsv", features);
  WriteBytes(path + "/" + prefix + "barcodes.tsv", barcodes);
  return path;
}

void ExpectCounts(const Readback& got) {
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(got.rows,
              ElementsAre(ElementsAre(5, 0, 1), ElementsAre(0, 0, 0), ElementsAre(0, 7, 0)));
}

TEST(MexReader, ReadsGenesAndProteins) {
  const std::string path = Folder();
  for (const int64_t max_rows : {1, 2, 100}) {
    const Readback got = ReadAll(path, "X", max_rows);
    ExpectCounts(got);
    EXPECT_THAT(got.genes, ElementsAre("CD3D", "CD19", "MS4A1"));
  }
  const auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_FALSE((*reader)->IsH5ad());
  EXPECT_THAT((*reader)->cell_names(), ElementsAre("AAA-1", "CCC-1", "GGG-1"));
  EXPECT_EQ((*reader)->DeclaredProteins(), "Antibody Capture");
  const auto proteins = ReadProteins(path, {"Antibody Capture", ""}, {"CD4", "CD3"});
  ASSERT_TRUE(proteins.status.ok()) << proteins.status;
  EXPECT_THAT(proteins.values, ElementsAre(0, 40, 0, 0, 0, 2));
  EXPECT_THAT(std::string(ReadProteins(path, {"Custom", ""}, {"CD3"}).status.message()),
              HasSubstr("It has, beside genes: Antibody Capture"));
}

TEST(MexReader, TakesTheReferencesNames) {
  EXPECT_THAT(ReadAll(Folder(), "X", 100, {"ENSG2", "ENSG3"}).genes,
              ElementsAre("ENSG1", "ENSG2", "ENSG3"));
}

TEST(MexReader, ReadsAnyOrderOfEntriesAndEitherOrientation) {
  ExpectCounts(ReadAll(Folder("%%MatrixMarket matrix coordinate real general\n4 3 5\n2 3 7.0\n"
                              "1 1 5\n3 3 2e0\n4 1 1\n3 1 40\n"),
                       "X", 2));
  ExpectCounts(ReadAll(Folder("%%matrixmarket MATRIX coordinate integer general\n3 4 5\r\n1 1 5\n"
                              "1 3 40\n1 4 1\n\n3 2 7\n3 3 2"),
                       "X", 2));
  // Several entries of one count are summed.
  const Readback twice =
      ReadAll(Folder("%%MatrixMarket matrix coordinate integer general\n4 3 2\n1 2 5\n1 2 3\n"));
  ASSERT_TRUE(twice.status.ok()) << twice.status;
  EXPECT_EQ(twice.rows[1][0], 8);
}

TEST(MexReader, FindsFilesByTheMatrixOrAPrefixPlainOrGzip) {
  const std::string path = Folder(kMatrix, kFeatures, kBarcodes, "GSM1_");
  ExpectCounts(ReadAll(path));
  ExpectCounts(ReadAll(path + "/GSM1_matrix.mtx"));
  WriteGzip(path + "/GSM2_matrix.mtx.gz", kMatrix);
  WriteGzip(path + "/GSM2_genes.tsv.gz", "ENSG1\tCD3D\nENSG2\tCD19\nADT\tx\nENSG3\tMS4A1\n");
  WriteGzip(path + "/GSM2_barcodes.tsv.gz", kBarcodes);
  const Readback second = ReadAll(path + "/GSM2_matrix.mtx.gz");
  ASSERT_TRUE(second.status.ok()) << second.status;
  // Version 2 has no types: all features are genes.
  EXPECT_THAT(second.rows[0], ElementsAre(5, 0, 40, 1));
  EXPECT_THAT(std::string(ReadAll(path).status.message()),
              HasSubstr("several matrices: GSM1_matrix.mtx, GSM2_matrix.mtx.gz"));
}

struct Broken {
  const char* name;
  const char* matrix;
  const char* reason;
};

class BrokenMatrix : public testing::TestWithParam<Broken> {};

TEST_P(BrokenMatrix, IsRefusedWithTheReason) {
  const absl::Status status = ReadAll(Folder(GetParam().matrix)).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
}

#define HEADER "%%MatrixMarket matrix coordinate integer general\n"
INSTANTIATE_TEST_SUITE_P(
    Parts, BrokenMatrix,
    testing::Values(
        Broken{"empty", "", "does not begin as"},
        Broken{"array", "%%MatrixMarket matrix array real general\n4 3\n1\n", "does not begin as"},
        Broken{"pattern", "%%MatrixMarket matrix coordinate pattern general\n4 3 1\n1 1\n",
               "does not begin as"},
        Broken{"no_sizes", HEADER "% nothing\n", "three sizes"},
        Broken{"bad_sizes", HEADER "4 x 5\n", "three sizes"},
        Broken{"negative_sizes", HEADER "-4 3 5\n", "three sizes"},
        Broken{"huge_sizes", HEADER "4 3 99999999999999999999\n", "three sizes"},
        Broken{"other_sizes", HEADER "5 3 1\n1 1 1\n", "5 x 3 beside 4 features and 3 barcodes"},
        Broken{"too_few", HEADER "4 3 5\n1 1 1\n", "ends after 1 of 5"},
        Broken{"too_many", HEADER "4 3 1\n1 1 1\n2 1 1\n", "more than the 1 entries"},
        Broken{"row_zero", HEADER "4 3 1\n0 1 1\n", "the entry (0, 1)"},
        Broken{"row_beyond", HEADER "4 3 1\n5 1 1\n", "the entry (5, 1)"},
        Broken{"column_beyond", HEADER "4 3 1\n1 4 1\n", "line 3: the entry (1, 4)"},
        Broken{"overflow", HEADER "4 3 1\n9223372036854775808 1 1\n", "no entry"},
        Broken{"a_word", HEADER "4 3 1\n1 1 many\n", "no entry"},
        Broken{"two_fields", HEADER "4 3 1\n1 1\n", "no entry"},
        Broken{"four_fields", HEADER "4 3 1\n1 1 1 1\n", "no entry"},
        Broken{"fraction", HEADER "4 3 1\n1 2 0.5\n", "0.5 in row 1, which is fractional"},
        Broken{"negative", HEADER "4 3 1\n1 2 -1\n", "negative"},
        Broken{"nan", HEADER "4 3 1\n1 2 nan\n", "not a finite number"}),
    [](const auto& test) { return test.param.name; });
#undef HEADER

TEST(MexReader, RefusesNamesThatDoNotFit) {
  const auto message = [](const std::string& path) {
    const absl::Status status = ReadAll(path).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message(Folder(kMatrix, kFeatures, "AAA-1\nAAA-1\nCCC-1\n")), HasSubstr("repeat"));
  EXPECT_THAT(message(Folder(kMatrix, kFeatures, "")), HasSubstr("0 cells"));
  EXPECT_THAT(message(Folder(kMatrix, "")), HasSubstr("0 genes"));
  EXPECT_THAT(message(Folder(kMatrix, "A\ta\tCustom\n")), HasSubstr("0 genes"));
  EXPECT_THAT(message(Folder(kMatrix, "A\ta\nB\tb\tGene Expression\nC\tc\nD\td\n")),
              HasSubstr("different lengths"));
  std::string path = Folder();
  std::filesystem::remove(path + "/barcodes.tsv");
  EXPECT_THAT(message(path), HasSubstr("no barcodes.tsv beside it"));
  path = Folder();
  std::filesystem::remove(path + "/features.tsv");
  EXPECT_THAT(message(path), HasSubstr("no features.tsv beside it"));
  path = Folder();
  WriteGzip(path + "/features.tsv.gz", kFeatures);
  std::filesystem::remove(path + "/features.tsv");
  std::filesystem::resize_file(path + "/features.tsv.gz", 40);
  EXPECT_THAT(message(path), HasSubstr("gzip data ends early"));
}

TEST(MexReader, ReadsSharedFolders) {
  const std::string v3 = SharedDataPath("formats/10x_v3_mex");
  if (v3.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA)";
  const Readback three = ReadAll(v3);
  ASSERT_TRUE(three.status.ok()) << three.status;
  EXPECT_THAT(three.rows, SizeIs(1107));
  EXPECT_THAT(three.genes, SizeIs(507));
  // The same counts as Cell Ranger's HDF5 file of the same run.
  const Readback hdf5 = ReadAll(SharedDataPath("formats/10x_v3.h5"));
  ASSERT_TRUE(hdf5.status.ok()) << hdf5.status;
  EXPECT_EQ(hdf5.rows, three.rows);
  EXPECT_EQ(hdf5.genes, three.genes);
  const Readback two = ReadAll(SharedDataPath("formats/10x_v2_mex"));
  ASSERT_TRUE(two.status.ok()) << two.status;
  EXPECT_THAT(two.rows, SizeIs(12));
  EXPECT_THAT(two.genes, SizeIs(343));
}

}  // namespace
}  // namespace portolan
