#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5_write.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing_io::H5adBuilder;
using testing_io::ReadAll;
using testing_io::Readback;
using testing_io::ReadProteins;
using testing_io::SharedDataPath;
using testing_io::TempPath;
using Names = std::vector<std::string>;

// A file without obs and var.
class TenxBuilder : public H5adBuilder {
 public:
  explicit TenxBuilder(const std::string& path) : H5adBuilder(path, 1, 1) {
    Remove("obs");
    Remove("var");
  }

  void Strings(const std::string& group, const std::string& name, const Names& values) {
    const auto handle = hdf5::OpenObject(file(), group);
    ASSERT_TRUE(handle.ok()) << handle.status();
    ASSERT_TRUE(h5ad::WriteStringArray(*handle, name, values).ok());
  }

  // Three cells and four features: (5, 0, 40, 1), (0, 0, 0, 0), (0, 7, 2, 0).
  void Counts(const std::string& group, const std::vector<double>& data = {5, 40, 1, 7, 2},
              const std::vector<double>& indices = {0, 2, 3, 1, 2},
              const std::vector<double>& indptr = {0, 3, 3, 5}) {
    const auto size = [](const auto& values) { return static_cast<int64_t>(values.size()); };
    Dataset(group + "/data", {size(data)}, H5T_STD_I32LE, data);
    Dataset(group + "/indices", {size(indices)}, H5T_STD_I64LE, indices);
    Dataset(group + "/indptr", {size(indptr)}, H5T_STD_I64LE, indptr);
    Strings(group, "barcodes", {"AAA-1", "CCC-1", "GGG-1"});
  }

  void Version3(const std::string& genome_prefix = "") {
    Group("matrix");
    Group("matrix/features");
    Names ids = {"ENSG1", "ENSG2", "ADT_CD3", "ENSG3"};
    Names names = {"CD3D", "CD19", "CD3_TotalSeqB", "MS4A1"};
    for (const size_t gene : {0, 1, 3}) {
      ids[gene] = genome_prefix + ids[gene];
      names[gene] = genome_prefix + names[gene];
    }
    Strings("matrix/features", "id", ids);
    Strings("matrix/features", "name", names);
    Strings("matrix/features", "feature_type",
            {"Gene Expression", "Gene Expression", "Antibody Capture", "Gene Expression"});
    Strings("matrix/features", "genome", {"GRCh38", "GRCh38", "", "GRCh38"});
    Counts("matrix");
  }

  void Version2(const std::string& genome, const Names& ids) {
    Group(genome);
    Strings(genome, "genes", ids);
    Strings(genome, "gene_names", {"a", "b", "c", "d"});
    Counts(genome);
  }
};

template <typename Build>
std::string File(const Build& build) {
  std::string path = TempPath("x.h5");
  TenxBuilder builder(path);
  build(builder);
  builder.Close();
  return path;
}

std::string Refusal(const std::string& path, const Names& reference = {}) {
  const absl::Status status = ReadAll(path, "X", 2, reference).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(GetFieldViolation(status).has_value());
  return std::string(status.message());
}

TEST(TenxHdf5Reader, ReadsGenesAndProteinsOfVersion3) {
  const std::string path = File([](TenxBuilder& b) { b.Version3(); });
  const Readback got = ReadAll(path, "X", 2);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(got.genes, ElementsAre("CD3D", "CD19", "MS4A1"));
  EXPECT_THAT(got.rows,
              ElementsAre(ElementsAre(5, 0, 1), ElementsAre(0, 0, 0), ElementsAre(0, 7, 0)));
  const auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_FALSE((*reader)->IsH5ad());
  EXPECT_EQ((*reader)->DeclaredProteins(), "Antibody Capture");
  const auto proteins = ReadProteins(path, {"Antibody Capture", ""}, {"CD4", "CD3"}, 2);
  ASSERT_TRUE(proteins.status.ok()) << proteins.status;
  EXPECT_THAT(proteins.names, ElementsAre("CD3_TotalSeqB"));
  EXPECT_THAT(proteins.values, ElementsAre(0, 40, 0, 0, 0, 2));
  EXPECT_THAT(proteins.block_starts, ElementsAre(0, 2));
}

TEST(TenxHdf5Reader, TakesTheReferencesNames) {
  const std::string path = File([](TenxBuilder& b) { b.Version3(); });
  EXPECT_THAT(ReadAll(path, "X", 9, {"ENSG3", "ENSG1"}).genes,
              ElementsAre("ENSG1", "ENSG2", "ENSG3"));
  const std::string prefixed = File([](TenxBuilder& b) { b.Version3("GRCh38_"); });
  EXPECT_THAT(ReadAll(prefixed, "X", 9, {"ENSG3"}).genes, ElementsAre("ENSG1", "ENSG2", "ENSG3"));
  EXPECT_THAT(ReadAll(prefixed, "X", 9, {"GRCh38_CD19"}).genes,
              ElementsAre("GRCh38_CD3D", "GRCh38_CD19", "GRCh38_MS4A1"));
}

TEST(TenxHdf5Reader, ChoosesTheGenomeOfVersion2ByTheReference) {
  const std::string path = File([](TenxBuilder& b) {
    b.Version2("hg19", {"hg19_H1", "hg19_H2", "hg19_H3", "hg19_H4"});
    b.Version2("mm10", {"mm10_M1", "mm10_M2", "mm10_M3", "mm10_M4"});
  });
  const Readback got = ReadAll(path, "X", 2, {"M2", "M4"});
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(got.genes, ElementsAre("M1", "M2", "M3", "M4"));
  EXPECT_THAT(got.rows[0], ElementsAre(5, 0, 40, 1));
  EXPECT_THAT(ReadAll(path, "X", 2, {"hg19_H1"}).genes[0], "hg19_H1");
  EXPECT_THAT(Refusal(path), HasSubstr("several genomes (hg19, mm10)"));
}

TEST(TenxHdf5Reader, RefusesWhatDoesNotFit) {
  const auto refused = [](void (*change)(TenxBuilder&)) {
    return Refusal(File([&](TenxBuilder& b) {
      b.Version3();
      change(b);
    }));
  };
  EXPECT_THAT(refused([](TenxBuilder& b) { b.Remove("matrix/barcodes"); }),
              HasSubstr("matrix/barcodes"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/features/name");
                b.Strings("matrix/features", "name", {"a"});
              }),
              HasSubstr("different lengths: 4 ids, 1 names"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/barcodes");
                b.Strings("matrix", "barcodes", {"a", "b"});
              }),
              HasSubstr("do not fit"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/barcodes");
                b.Strings("matrix", "barcodes", {"a", "b", "a"});
              }),
              HasSubstr("repeat an earlier one"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/indices");
                b.Dataset("matrix/indices", {5}, H5T_STD_I64LE, {0, 2, 4, 1, 2});
              }),
              HasSubstr("the index 4"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/indptr");
                b.Dataset("matrix/indptr", {4}, H5T_STD_I64LE, {0, 3, 2, 5});
              }),
              HasSubstr("ascend"));
  EXPECT_THAT(refused([](TenxBuilder& b) {
                b.Remove("matrix/data");
                b.Dataset("matrix/data", {5}, H5T_IEEE_F64LE, {0.5, 1, 1, 1, 1});
              }),
              HasSubstr("fractional"));
  EXPECT_THAT(Refusal(File([](TenxBuilder& b) { b.Group("something"); })),
              HasSubstr("neither a 10x matrix nor h5ad"));
}

TEST(TenxHdf5Reader, ReadsSharedFiles) {
  const std::string v2 = SharedDataPath("formats/10x_v2_heart1k_mm10.h5");
  if (v2.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA)";
  // By its symbols two genes would share a name.
  const Readback two = ReadAll(v2, "X", 100, {"ENSMUSG00000051951"});
  ASSERT_TRUE(two.status.ok()) << two.status;
  EXPECT_THAT(two.rows, SizeIs(712));
  EXPECT_THAT(two.genes, SizeIs(31053));
  double sum = 0;
  for (const auto& row : two.rows) {
    for (const float count : row) sum += count;
  }
  EXPECT_EQ(sum, 5851495);
}

}  // namespace
}  // namespace portolan
