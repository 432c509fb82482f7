#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "core/base/field_error.h"
#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5_write.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing_io::H5adBuilder;
using testing_io::ProteinReadback;
using testing_io::ReadProteins;
using testing_io::SharedDataPath;
using testing_io::TempPath;
using Names = std::vector<std::string>;

constexpr int64_t kCells = 4;
const Names kPanel = {"CD4_TotalSeqB", "CD3_TotalSeqB", "CD8a_TotalSeqB"};
// Cells x (CD3, x, CD4).
const std::vector<double> kProteins = {1, 9, 2, 0, 9, 4, 5, 9, 0, 7, 9, 8};

std::string FieldOf(const absl::Status& status) {
  const auto violation = GetFieldViolation(status);
  return violation.has_value() ? violation->field : "";
}

void WriteNames(const H5adBuilder& builder, const std::string& group, const std::string& name,
                const Names& names) {
  const auto handle = hdf5::OpenObject(builder.file(), group);
  ASSERT_TRUE(handle.ok()) << handle.status();
  ASSERT_TRUE(h5ad::WriteStringArray(*handle, name, names).ok());
}

// obsm/adt as a data frame of float columns.
void WriteFrame(H5adBuilder& builder, const std::vector<double>& proteins, int64_t rows = kCells) {
  builder.Group("obsm");
  builder.Group("obsm/adt");
  builder.Attribute("obsm/adt", "encoding-type", "dataframe");
  builder.Attribute("obsm/adt", "_index", "_index");
  Names cells;
  for (int64_t i = 0; i < rows; ++i) cells.push_back("cell" + std::to_string(i));
  WriteNames(builder, "obsm/adt", "_index", cells);
  const auto group = hdf5::OpenObject(builder.file(), "obsm/adt");
  const Names columns = {"CD3_TotalSeqB", "x", "CD4_TotalSeqC"};
  ASSERT_TRUE(hdf5::SetAttribute(*group, "column-order", columns).ok());
  for (size_t c = 0; c < columns.size(); ++c) {
    std::vector<double> column;
    for (int64_t i = 0; i < rows; ++i) column.push_back(proteins[3 * i + c]);
    builder.Dataset("obsm/adt/" + columns[c], {rows}, H5T_IEEE_F32LE, column);
  }
}

// obsm/adt as a dense array, uns/adt_names.
void WriteDense(H5adBuilder& builder, const std::vector<double>& proteins) {
  builder.Group("obsm");
  builder.Dataset("obsm/adt", {kCells, 3}, H5T_STD_I64LE, proteins);
  builder.Group("uns");
  WriteNames(builder, "uns", "adt_names", {"CD3", "x", "cd4"});
  WriteNames(builder, "uns", "other", {"a", "b"});
}

void WriteSparse(H5adBuilder& builder, const std::vector<double>& proteins) {
  builder.Group("obsm");
  builder.Csr("obsm/adt", kCells, 3, proteins);
  builder.Group("uns");
  WriteNames(builder, "uns", "adt_names", {"CD3", "x", "cd4"});
}

template <typename Build>
std::string File(const Build& build) {
  const std::string path = TempPath("x.h5ad");
  H5adBuilder builder(path, kCells, 1);
  builder.Dataset("X", {kCells, 1}, H5T_IEEE_F32LE, {1, 1, 1, 1});
  build(builder);
  builder.Close();
  return path;
}

TEST(H5adProteins, AreTheSameFromFrameArrayAndSparseMatrix) {
  const ProteinSource named{"adt", "adt_names"};
  const std::string paths[] = {File([](auto& b) { WriteFrame(b, kProteins); }),
                               File([](auto& b) { WriteDense(b, kProteins); }),
                               File([](auto& b) { WriteSparse(b, kProteins); })};
  for (const std::string& path : paths) {
    const ProteinReadback got = ReadProteins(path, named, kPanel);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_THAT(got.names, SizeIs(3));
    EXPECT_THAT(got.values, ElementsAre(2, 1, 0, 4, 0, 0, 0, 5, 0, 8, 7, 0));
    EXPECT_THAT(got.block_starts, ElementsAre(0, 3));
  }
}

TEST(H5adProteins, RefusesWhatIsNotCounts) {
  const auto with = [](double value) {
    std::vector<double> proteins = kProteins;
    proteins[5] = value;
    return proteins;
  };
  for (const double value : {0.5, -1.0, std::nan(""), 1e9}) {
    const std::string path = File([&](auto& b) { WriteFrame(b, with(value)); });
    const absl::Status status = ReadProteins(path, {"adt", ""}, kPanel).status;
    EXPECT_EQ(FieldOf(status), "obsm/adt/CD4_TotalSeqC");
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("row 1"), HasSubstr("raw counts of the proteins")));
  }
  const std::string sparse = File([&](auto& b) { WriteSparse(b, with(0.5)); });
  EXPECT_EQ(FieldOf(ReadProteins(sparse, {"adt", "adt_names"}, kPanel).status), "obsm/adt");
}

TEST(H5adProteins, NamesWhatTheFileHas) {
  const std::string path = File([](auto& b) { WriteDense(b, kProteins); });
  const auto message = [&](const ProteinSource& source) {
    const absl::Status status = ReadProteins(path, source, kPanel).status;
    EXPECT_EQ(FieldOf(status), "proteins") << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message({"protein", ""}), HasSubstr("no element 'protein'. It has: adt."));
  EXPECT_THAT(message({"adt", ""}),
              AllOf(HasSubstr("an array, without names"), HasSubstr("could be adt_names")));
  EXPECT_THAT(message({"adt", "names"}), HasSubstr("uns has no element 'names'"));
  EXPECT_THAT(message({"adt", "other"}), HasSubstr("2 names in uns/other for 3 columns"));
  const std::string none = File([](auto&) {});
  EXPECT_EQ(FieldOf(ReadProteins(none, {"adt", ""}, kPanel).status), "proteins");
}

TEST(H5adProteins, RefusesWhatDoesNotFit) {
  const auto refused = [&](const std::string& path, const ProteinSource& source) {
    const absl::Status status = ReadProteins(path, source, kPanel).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refused(File([](auto& b) { WriteFrame(b, kProteins, 3); }), {"adt", ""}),
              HasSubstr("3 rows in a file of 4 cells"));
  EXPECT_THAT(refused(File([](auto& b) {
                        WriteFrame(b, kProteins);
                        b.Remove("obsm/adt/CD3_TotalSeqB");
                        WriteNames(b, "obsm/adt", "CD3_TotalSeqB", {"1", "2", "3", "4"});
                      }),
                      {"adt", ""}),
              HasSubstr("not one number per cell"));
  EXPECT_THAT(refused(File([](auto& b) {
                        WriteFrame(b, kProteins);
                        b.Remove("obsm/adt/CD3_TotalSeqB");
                        b.Dataset("obsm/adt/CD3_TotalSeqB", {3}, H5T_IEEE_F32LE, {1, 2, 3});
                      }),
                      {"adt", ""}),
              HasSubstr("not one number per cell"));
  EXPECT_THAT(refused(File([](auto& b) {
                        b.Group("obsm");
                        b.Dataset("obsm/adt", {kCells}, H5T_IEEE_F32LE, {1, 2, 3, 4});
                      }),
                      {"adt", ""}),
              HasSubstr("no matrix"));
  EXPECT_THAT(refused(File([](auto& b) {
                        WriteDense(b, kProteins);
                        b.Remove("obsm/adt");
                        b.Dataset("obsm/adt", {2, 3}, H5T_IEEE_F32LE, {});
                      }),
                      {"adt", "adt_names"}),
              HasSubstr("(2, 3)"));
}

TEST(H5adProteins, OfSharedFiles) {
  const std::string cite = SharedDataPath("counts/pbmc10k_cite_6855.h5ad");
  if (cite.empty()) GTEST_SKIP() << "the shared test data is absent";
  const ProteinReadback reference =
      ReadProteins(cite, {"protein_expression", ""}, {"CD3", "CD4"}, 1000);
  ASSERT_TRUE(reference.status.ok()) << reference.status;
  EXPECT_THAT(reference.names, SizeIs(14));
  EXPECT_THAT(reference.values, SizeIs(2 * 6855));
  // Another panel, as an array in the layout of anndata 0.7; 14 of its 29 are the reference's.
  const ProteinReadback query =
      ReadProteins(SharedDataPath("counts/pbmc_5k_protein_v3.h5ad"),
                   {"protein_expression", "protein_names"}, reference.names, 64);
  ASSERT_TRUE(query.status.ok()) << query.status;
  EXPECT_THAT(query.names, SizeIs(29));
  EXPECT_THAT(query.values, SizeIs(14 * 200));
}

}  // namespace
}  // namespace portolan
