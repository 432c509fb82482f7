#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/field_error.h"
#include "core/io/dataframe.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"
#include "core/io/result_writer.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using hdf5::KindOf;
using hdf5::ObjectKind;
using testing::HasSubstr;
using testing_io::FixturePath;
using testing_io::SharedDataPath;
using testing_io::TempPath;

constexpr int64_t kCells = 12;

std::vector<float> Latent() {
  std::vector<float> values(kCells * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.25f * static_cast<float>(i);
  return values;
}

std::vector<int32_t> Codes() { return {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1}; }
const std::vector<std::string> kLabels = {"T cell", "β cell"};

// Number of files whose name begins with that of `path`.
int FilesLike(const std::string& path) {
  int count = 0;
  const auto prefix = std::filesystem::path(path).filename().string();
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(path).parent_path())) {
    count += entry.path().filename().string().starts_with(prefix) ? 1 : 0;
  }
  return count;
}

void WriteResult(const std::string& query, const std::string& out,
                 const ResultWriterOptions& options = {}) {
  auto writer = ResultWriter::Create(query, out, options);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->WriteObsm("X_portolan", 2, Latent()).ok());
  ASSERT_TRUE((*writer)->WriteObsCategorical("label", Codes(), kLabels).ok());
  const nlohmann::json report = {{"epochs", 7},
                                 {"nested", {{"share", 0.5}, {"ok", true}, {"name", "é"}}},
                                 {"genes", {"A", "B"}},
                                 {"mixed", {1, 2.5}},
                                 {"rows", {{{"k", 1}}, {{"k", 2}}}},
                                 {"none", nullptr},
                                 {"a/b", nlohmann::json::array()}};
  const absl::Status uns = (*writer)->WriteUns("portolan", report);
  ASSERT_TRUE(uns.ok()) << uns;
  const absl::Status finished = (*writer)->Finish();
  ASSERT_TRUE(finished.ok()) << finished;
}

hdf5::Handle Open(const std::string& path) {
  auto file = hdf5::OpenFile(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : hdf5::Handle();
}

std::string EncodingOf(const hdf5::Handle& file, const std::string& path) {
  const hdf5::Gate gate;
  const hdf5::Handle object(H5Oopen(file.id(), path.c_str(), H5P_DEFAULT));
  return hdf5::StringAttribute(object, "encoding-type").value_or("none");
}

TEST(ResultWriter, AddsToACopyOfTheQuery) {
  const std::string out = TempPath("out.h5ad");
  WriteResult(FixturePath("every_column.h5ad"), out);
  EXPECT_EQ(FilesLike(out), 1);
  const hdf5::Handle file = Open(out);
  EXPECT_EQ(EncodingOf(file, "/"), "anndata");
  EXPECT_EQ(EncodingOf(file, "obsm/X_portolan"), "array");
  EXPECT_EQ(EncodingOf(file, "obs/label"), "categorical");
  EXPECT_EQ(EncodingOf(file, "uns/portolan"), "dict");
  EXPECT_EQ(EncodingOf(file, "uns/portolan/nested/name"), "string");
  EXPECT_EQ(EncodingOf(file, "uns/portolan/nested/share"), "numeric-scalar");
  EXPECT_EQ(EncodingOf(file, "uns/portolan/genes"), "string-array");
  EXPECT_EQ(EncodingOf(file, "uns/portolan/rows/1/k"), "numeric-scalar");
  EXPECT_EQ(EncodingOf(file, "uns/portolan/a_b"), "array");
  EXPECT_EQ(KindOf(file, "uns/portolan/none"), ObjectKind::kAbsent);
  for (const char* kept : {"uns/note", "obsm/X_pca", "layers/counts", "raw/X", "X"}) {
    EXPECT_NE(KindOf(file, kept), ObjectKind::kAbsent) << kept;
  }
  const auto latent = hdf5::OpenDataset(file, "obsm/X_portolan", "obsm");
  ASSERT_TRUE(latent.ok()) << latent.status();
  EXPECT_EQ(latent->shape, (std::vector<int64_t>{kCells, 2}));
  EXPECT_EQ(latent->type.bytes, sizeof(float));
  EXPECT_EQ(*hdf5::ReadAll<float>(*latent), Latent());

  auto reader = OpenQuery(out);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->ObsColumnNames().back(), "label");
  const auto label = (*reader)->ReadObs("label");
  ASSERT_TRUE(label.ok()) << label.status();
  EXPECT_EQ(label->values[1], "β cell");
  EXPECT_EQ(label->values[2], std::nullopt);
}

TEST(ResultWriter, StartsAFileOfItsOwn) {
  const std::string out = TempPath("out.h5ad");
  const std::vector<std::string> cells = {"a", "b", "c"};
  {
    auto writer = ResultWriter::CreateNew(cells, out);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const std::vector<int32_t> codes = {1, 0, 1};
    ASSERT_TRUE((*writer)->WriteObsCategorical("batch", codes, kLabels).ok());
    ASSERT_TRUE((*writer)->WriteObsm("X_portolan", 1, std::vector<float>{1, 2, 3}).ok());
    EXPECT_FALSE((*writer)->WriteObsm("X_short", 1, std::vector<float>{1, 2}).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  EXPECT_EQ(FilesLike(out), 1);
  {
    const hdf5::Handle file = Open(out);
    EXPECT_EQ(EncodingOf(file, "/"), "anndata");
    EXPECT_EQ(EncodingOf(file, "obs"), "dataframe");
    EXPECT_EQ(EncodingOf(file, "var"), "dataframe");
    EXPECT_EQ(EncodingOf(file, "uns"), "dict");
    EXPECT_EQ(KindOf(file, "X"), ObjectKind::kAbsent);
  }
  const auto reader = OpenQuery(out);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->cell_names(), cells);
  EXPECT_EQ((*reader)->ReadObs("batch")->values[1], "T cell");
  EXPECT_FALSE((*reader)->GeneNames({"X"}).ok());
}

TEST(ResultWriter, LeavesOutTheCountsWhenAsked) {
  const std::string out = TempPath("out.h5ad");
  WriteResult(FixturePath("every_column.h5ad"), out, {.without_counts = true});
  const hdf5::Handle file = Open(out);
  for (const char* gone : {"X", "layers", "raw"}) {
    EXPECT_EQ(KindOf(file, gone), ObjectKind::kAbsent) << gone;
  }
  EXPECT_EQ(KindOf(file, "uns/note"), ObjectKind::kDataset);
}

TEST(ResultWriter, WritesOverItsOwnQueryAndReplacesWhatIsThere) {
  const std::string path = TempPath("both.h5ad");
  std::filesystem::copy_file(FixturePath("csr_gzip.h5ad"), path,
                             std::filesystem::copy_options::overwrite_existing);
  WriteResult(path, path);
  WriteResult(path, path);
  EXPECT_EQ(FilesLike(path), 1);
  auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT((*reader)->ObsColumnNames(), testing::ElementsAre("batch", "label"));
  EXPECT_TRUE(testing_io::ReadAll(path).status.ok());
}

TEST(ResultWriter, KeepsTextsThatWereCompressedWithLzf) {
  const std::string out = TempPath("out.h5ad");
  WriteResult(FixturePath("csr_lzf.h5ad"), out);
  auto before = OpenQuery(FixturePath("csr_lzf.h5ad"));
  auto after = OpenQuery(out);
  ASSERT_TRUE(before.ok()) << before.status();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ((*before)->cell_names(), (*after)->cell_names());
  EXPECT_EQ(testing_io::ReadAll(FixturePath("csr_lzf.h5ad")).rows, testing_io::ReadAll(out).rows);
}

TEST(ResultWriter, LeavesNothingBehindWithoutFinish) {
  const std::string out = TempPath("out.h5ad");
  {
    auto writer = ResultWriter::Create(FixturePath("csr_gzip.h5ad"), out);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->WriteObsm("X_portolan", 2, Latent()).ok());
    EXPECT_FALSE(std::filesystem::exists(out));
    EXPECT_EQ(FilesLike(out), 1);
  }
  EXPECT_EQ(FilesLike(out), 0);
}

TEST(ResultWriter, RefusesWhatDoesNotFitTheCells) {
  auto writer = ResultWriter::Create(FixturePath("csr_gzip.h5ad"), TempPath("out.h5ad"));
  ASSERT_TRUE(writer.ok());
  ResultWriter& w = **writer;
  const std::vector<std::string> twice = {"T", "T"};
  EXPECT_FALSE(w.WriteObsm("X", 3, Latent()).ok());
  EXPECT_FALSE(w.WriteObsm("a/b", 2, Latent()).ok());
  EXPECT_FALSE(w.WriteObsm("", 2, Latent()).ok());
  EXPECT_FALSE(w.WriteObsCategorical("label", {}, kLabels).ok());
  EXPECT_FALSE(w.WriteObsCategorical("_index", Codes(), kLabels).ok());
  EXPECT_FALSE(w.WriteObsCategorical("label", Codes(), twice).ok());
  EXPECT_FALSE(w.WriteObsCategorical("label", Codes(), {}).ok());
  nlohmann::json deep = 1;
  for (int i = 0; i < 100; ++i) deep = {{"k", deep}};
  EXPECT_FALSE(w.WriteUns("deep", deep).ok());
  EXPECT_TRUE(w.Finish().ok());
  EXPECT_EQ(w.Finish().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ResultWriter, TakesAnArrayInPieces) {
  const std::string out = TempPath("pieces.h5ad");
  auto writer = ResultWriter::Create(FixturePath("csr_gzip.h5ad"), out);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<float> values = Latent();
  const std::span<const float> all(values);
  ASSERT_TRUE((*writer)->AppendObsm("pieces", 2, all.first(2)).ok());
  EXPECT_FALSE((*writer)->AppendObsm("pieces", 2, all.first(3)).ok()) << "half a row";
  EXPECT_FALSE((*writer)->AppendObsm("pieces", 2, all).ok()) << "one row too many";
  EXPECT_FALSE((*writer)->Finish().ok()) << "rows are missing";
  ASSERT_TRUE((*writer)->AppendObsm("pieces", 2, all.subspan(2)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const hdf5::Handle file = Open(out);
  EXPECT_EQ(EncodingOf(file, "obsm/pieces"), "array");
  const auto pieces = hdf5::OpenDataset(file, "obsm/pieces", "obsm");
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_EQ(pieces->shape, (std::vector<int64_t>{kCells, 2}));
  EXPECT_EQ(*hdf5::ReadAll<float>(*pieces), values);
}

TEST(ResultWriter, NamesTheOutputThatCannotBe) {
  const std::string query = FixturePath("csr_gzip.h5ad");
  const auto folder = ResultWriter::Create(query, TempPath("absent") + "/out.h5ad").status();
  EXPECT_EQ(GetFieldViolation(folder)->field, "output");
  EXPECT_THAT(std::string(folder.message()), HasSubstr("absent/out.h5ad"));
  EXPECT_FALSE(ResultWriter::Create(query, testing::TempDir()).ok());
  EXPECT_EQ(ResultWriter::Create(TempPath("absent"), TempPath("out")).status().code(),
            absl::StatusCode::kNotFound);
}

class OldLayout : public testing::TestWithParam<const char*> {};

TEST_P(OldLayout, BecomesTodaysWithTheSameValues) {
  const std::string query = SharedDataPath(GetParam());
  if (query.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA): " << GetParam();
  const std::string out = TempPath("out.h5ad");
  auto writer = ResultWriter::Create(query, out);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Finish().ok());
  const hdf5::Handle before = Open(query);
  const hdf5::Handle after = Open(out);
  for (const char* part : {"obs", "var"}) {
    const auto old_frame = Dataframe::Open(before, part);
    const auto new_frame = Dataframe::Open(after, part);
    ASSERT_TRUE(old_frame.ok()) << old_frame.status();
    ASSERT_TRUE(new_frame.ok()) << new_frame.status();
    EXPECT_EQ(new_frame->layout(), Dataframe::Layout::kEncoded);
    EXPECT_EQ(old_frame->index(), new_frame->index());
    EXPECT_EQ(old_frame->columns(), new_frame->columns());
    for (const std::string& column : old_frame->columns()) {
      const auto old_values = old_frame->Column(column);
      const auto new_values = new_frame->Column(column);
      ASSERT_TRUE(old_values.ok()) << old_values.status();
      ASSERT_TRUE(new_values.ok()) << new_values.status();
      EXPECT_EQ(old_values->values, new_values->values) << part << "/" << column;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, OldLayout,
                         testing::Values("formats/anndata_v0.7.0.h5ad",
                                         "formats/anndata_v0.7.8.h5ad",
                                         "formats/lognormalised_kang.h5ad",
                                         "counts/pbmc_10k_protein_v3.h5ad"));

}  // namespace
}  // namespace portolan
