#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/field_error.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::Optional;
using testing_io::FixturePath;
using testing_io::H5adBuilder;
using testing_io::ReadAll;
using testing_io::Readback;
using testing_io::SharedDataPath;
using testing_io::TempPath;

constexpr int64_t kCells = 12;
constexpr int64_t kGenes = 9;

// The formula of tests/data/make_h5ad_fixtures.py.
float FixtureCount(int64_t row, int64_t column) {
  const int64_t value = (7 * row + 3 * column) % 11;
  return value > 5 ? static_cast<float>(value - 5) : 0.0f;
}

void ExpectFixtureCounts(const Readback& got, int64_t columns = kGenes) {
  ASSERT_TRUE(got.status.ok()) << got.status;
  ASSERT_EQ(got.rows.size(), kCells);
  for (int64_t row = 0; row < kCells; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const float expected = column < kGenes ? FixtureCount(row, column) : 1.0f;
      EXPECT_EQ(got.rows[row][column], expected) << row << ", " << column;
    }
  }
}

std::vector<double> SmallMatrix() { return {0, 1, 2, 3, 0, 5, 0, 0, 9, 1, 0, 0}; }

std::string FieldOf(const absl::Status& status) {
  const auto violation = GetFieldViolation(status);
  return violation.has_value() ? violation->field : "";
}

class Twins : public testing::TestWithParam<const char*> {};

TEST_P(Twins, HoldTheSameCountsInBlocksOfAnySize) {
  for (const int64_t max_rows : {1, 5, 12, 1000}) {
    const Readback got = ReadAll(FixturePath(GetParam()), "X", max_rows);
    ExpectFixtureCounts(got);
    for (size_t i = 0; i + 1 < got.block_rows.size(); ++i) {
      EXPECT_EQ(got.block_rows[i], max_rows);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, Twins,
                         testing::Values("csr_gzip.h5ad", "csr_lzf.h5ad", "csc_gzip.h5ad",
                                         "dense_lzf.h5ad", "dense_plain.h5ad"));

TEST(H5adReader, ReadsLayersAndRaw) {
  ExpectFixtureCounts(ReadAll(FixturePath("every_column.h5ad"), "layers/counts"));
  ExpectFixtureCounts(ReadAll(FixturePath("every_column.h5ad"), "raw/X"), kGenes + 2);
}

TEST(H5adReader, RefusesALogarithmAsCountsAndNamesTheRemedy) {
  const Readback got = ReadAll(FixturePath("every_column.h5ad"), "X");
  EXPECT_EQ(FieldOf(got.status), "X");
  EXPECT_THAT(std::string(got.status.message()),
              testing::AllOf(HasSubstr("fractional"), HasSubstr("layers/NAME")));
}

TEST(H5adReader, NamesTheMatricesThatExist) {
  const Readback got = ReadAll(FixturePath("every_column.h5ad"), "layers/raw_counts");
  EXPECT_EQ(FieldOf(got.status), "layers/raw_counts");
  EXPECT_THAT(std::string(got.status.message()), HasSubstr("X, layers/counts, raw/X"));
  EXPECT_EQ(FieldOf(ReadAll(FixturePath("csr_gzip.h5ad"), "obs/batch").status), "counts");
}

TEST(H5adReader, ReadsEveryKindOfColumn) {
  auto reader = OpenQuery(FixturePath("every_column.h5ad"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->cell_names().front(), "cell0");
  EXPECT_EQ((*reader)->ObsColumnNames().size(), 11u);
  const auto first = [&](const std::string& name, size_t count) {
    auto column = (*reader)->ReadObs(name);
    EXPECT_TRUE(column.ok()) << column.status();
    if (!column.ok()) return std::vector<std::optional<std::string>>();
    EXPECT_EQ(column->values.size(), kCells);
    column->values.resize(count);
    return column->values;
  };
  EXPECT_THAT(first("category", 3),
              ElementsAre(std::nullopt, Optional(Eq("β cell")), Optional(Eq("T"))));
  EXPECT_THAT(first("int_category", 3),
              ElementsAre(Optional(Eq("1")), Optional(Eq("2")), Optional(Eq("10"))));
  EXPECT_THAT(first("text", 2), ElementsAre(Optional(Eq("s0")), Optional(Eq("s1"))));
  EXPECT_THAT(first("int", 2), ElementsAre(Optional(Eq("0")), Optional(Eq("1"))));
  EXPECT_THAT(first("float", 6),
              ElementsAre(std::nullopt, Optional(Eq("1.0")), Optional(Eq("0.1")),
                          Optional(Eq("1e-05")), Optional(Eq("1e+16")), Optional(Eq("-2.5"))));
  EXPECT_THAT(first("float32", 3),
              ElementsAre(Optional(Eq("0.1")), Optional(Eq("2.0")), std::nullopt));
  EXPECT_THAT(first("bool", 2), ElementsAre(Optional(Eq("True")), Optional(Eq("False"))));
  EXPECT_THAT(first("nullable_int", 2), ElementsAre(std::nullopt, Optional(Eq("1"))));
  EXPECT_THAT(first("nullable_bool", 3),
              ElementsAre(std::nullopt, Optional(Eq("True")), Optional(Eq("False"))));
  EXPECT_THAT(first("nullable_text", 2), ElementsAre(std::nullopt, Optional(Eq("x"))));
}

TEST(H5adReader, NamesTheColumnsThatExist) {
  auto reader = OpenQuery(FixturePath("csr_gzip.h5ad"));
  ASSERT_TRUE(reader.ok());
  const auto column = (*reader)->ReadObs("sample");
  EXPECT_EQ(FieldOf(column.status()), "obs");
  EXPECT_THAT(std::string(column.status().message()),
              testing::AllOf(HasSubstr("sample"), HasSubstr("batch")));
}

struct NamedType {
  const char* name;
  hid_t (*type)();
};

hid_t Float16() {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

hid_t Boolean() {
  const hid_t type = H5Tenum_create(H5T_STD_I8LE);
  for (int8_t value : {0, 1}) H5Tenum_insert(type, value == 0 ? "FALSE" : "TRUE", &value);
  return type;
}

class EveryType : public testing::TestWithParam<NamedType> {};

TEST_P(EveryType, ReadsDenseAndSparse) {
  const hdf5::Gate gate;
  std::vector<double> values = SmallMatrix();
  const hdf5::Handle type(GetParam().type());
  if (H5Tget_class(type.id()) == H5T_ENUM) {
    for (double& value : values) value = value > 0 ? 1 : 0;
  }
  for (const bool sparse : {false, true}) {
    const std::string path = TempPath(sparse ? "sparse" : "dense");
    H5adBuilder builder(path, 3, 4);
    if (sparse) {
      builder.Csr("X", 3, 4, values, type.id());
    } else {
      builder.Dataset("X", {3, 4}, type.id(), values, {2, 3}, true);
    }
    builder.Close();
    const Readback got = ReadAll(path);
    ASSERT_TRUE(got.status.ok()) << got.status;
    for (int i = 0; i < 12; ++i) EXPECT_EQ(got.rows[i / 4][i % 4], values[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType,
                         testing::Values(NamedType{"i8", [] { return H5Tcopy(H5T_STD_I8LE); }},
                                         NamedType{"u8", [] { return H5Tcopy(H5T_STD_U8LE); }},
                                         NamedType{"i16", [] { return H5Tcopy(H5T_STD_I16LE); }},
                                         NamedType{"u16be", [] { return H5Tcopy(H5T_STD_U16BE); }},
                                         NamedType{"i32", [] { return H5Tcopy(H5T_STD_I32LE); }},
                                         NamedType{"u32", [] { return H5Tcopy(H5T_STD_U32LE); }},
                                         NamedType{"i64", [] { return H5Tcopy(H5T_STD_I64LE); }},
                                         NamedType{"u64be", [] { return H5Tcopy(H5T_STD_U64BE); }},
                                         NamedType{"f16", Float16},
                                         NamedType{"f32", [] { return H5Tcopy(H5T_IEEE_F32LE); }},
                                         NamedType{"f32be", [] { return H5Tcopy(H5T_IEEE_F32BE); }},
                                         NamedType{"f64", [] { return H5Tcopy(H5T_IEEE_F64LE); }},
                                         NamedType{"f64be", [] { return H5Tcopy(H5T_IEEE_F64BE); }},
                                         NamedType{"bool", Boolean}),
                         [](const auto& instance) { return std::string(instance.param.name); });

class EveryIndexType : public testing::TestWithParam<NamedType> {};

TEST_P(EveryIndexType, Reads) {
  const hdf5::Gate gate;
  const hdf5::Handle type(GetParam().type());
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 3, 4);
  builder.Csr("X", 3, 4, SmallMatrix(), H5T_IEEE_F32LE, type.id());
  builder.Close();
  const Readback got = ReadAll(path);
  ASSERT_TRUE(got.status.ok()) << got.status;
  for (int i = 0; i < 12; ++i) EXPECT_EQ(got.rows[i / 4][i % 4], SmallMatrix()[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Types, EveryIndexType,
                         testing::Values(NamedType{"i32", [] { return H5Tcopy(H5T_STD_I32LE); }},
                                         NamedType{"u32", [] { return H5Tcopy(H5T_STD_U32LE); }},
                                         NamedType{"i64", [] { return H5Tcopy(H5T_STD_I64LE); }},
                                         NamedType{"i64be", [] { return H5Tcopy(H5T_STD_I64BE); }},
                                         NamedType{"u8", [] { return H5Tcopy(H5T_STD_U8LE); }}),
                         [](const auto& instance) { return std::string(instance.param.name); });

// One sparse matrix, given by its parts.
void Sparse(H5adBuilder& builder, const char* encoding, const std::vector<double>& data,
            const std::vector<double>& indices, const std::vector<double>& indptr) {
  builder.Group("X");
  builder.Attribute("X", "encoding-type", encoding);
  builder.Shape("X", {3, 4});
  builder.Dataset("X/data", {static_cast<int64_t>(data.size())}, H5T_IEEE_F32LE, data);
  builder.Dataset("X/indices", {static_cast<int64_t>(indices.size())}, H5T_STD_I32LE, indices);
  builder.Dataset("X/indptr", {static_cast<int64_t>(indptr.size())}, H5T_STD_I32LE, indptr);
}

TEST(H5adReader, SumsDuplicatesAndDropsStoredZerosInAnyOrder) {
  for (const char* encoding : {"csr_matrix", "csc_matrix"}) {
    const bool rows = std::string(encoding) == "csr_matrix";
    const std::string path = TempPath(encoding);
    H5adBuilder builder(path, 3, 4);
    if (rows) {
      Sparse(builder, encoding, {5, 1, 2, 0, 7}, {3, 1, 3, 0, 2}, {0, 4, 4, 5});
    } else {
      Sparse(builder, encoding, {0, 1, 7, 5, 2}, {0, 0, 2, 0, 0}, {0, 1, 2, 3, 5});
    }
    builder.Close();
    const Readback got = ReadAll(path, "X", 2);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_THAT(got.rows, ElementsAre(ElementsAre(0, 1, 0, 7), ElementsAre(0, 0, 0, 0),
                                      ElementsAre(0, 0, 7, 0)));
  }
}

TEST(H5adReader, ReadsDenseChunksThatRunDownTheColumns) {
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 3, 4);
  builder.Dataset("X", {3, 4}, H5T_IEEE_F32LE, SmallMatrix(), {3, 1}, true);
  builder.Close();
  const Readback got = ReadAll(path, "X", 2);
  ASSERT_TRUE(got.status.ok()) << got.status;
  for (int i = 0; i < 12; ++i) EXPECT_EQ(got.rows[i / 4][i % 4], SmallMatrix()[i]) << i;
  EXPECT_THAT(got.block_rows, ElementsAre(2, 1));
}

TEST(H5adReader, CutsToTheReferencesGenesInItsOrderButChecksTheOthersToo) {
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 3, 4);
  builder.Csr("X", 3, 4, {1, 2, 3, 4, 0, 0, 0, 0, 5, 0, 0, 0.5});
  builder.Close();
  auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok());
  const auto genes = (*reader)->GeneNames({"X"});
  const std::vector<std::string> reference = {"gene2", "absent", "gene0"};
  const auto alignment = GeneAlignment::Create(reference, *genes, {});
  ASSERT_TRUE(alignment.ok()) << alignment.status();
  CsrMatrix all;
  all.cols = 3;
  const absl::Status status =
      (*reader)->ReadCounts({"X"}, *alignment, 1, CancelToken(), [&](int64_t, CsrMatrix block) {
        all.Append(block);
        return absl::OkStatus();
      });
  EXPECT_THAT(std::string(status.message()), testing::AllOf(HasSubstr("0.5"), HasSubstr("row 2")));
}

TEST(H5adReader, StopsAtCancellationAndAtTheSinksError) {
  auto reader = OpenQuery(FixturePath("csr_gzip.h5ad"));
  ASSERT_TRUE(reader.ok());
  const auto genes = (*reader)->GeneNames({"X"});
  const auto alignment = GeneAlignment::Create(*genes, *genes, {});
  int calls = 0;
  const auto refuse = [&](int64_t, CsrMatrix) {
    ++calls;
    return absl::ResourceExhaustedError("full");
  };
  EXPECT_EQ((*reader)->ReadCounts({"X"}, *alignment, 5, CancelToken(), refuse).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(calls, 1);
  const CancelToken cancel;
  cancel.Cancel();
  EXPECT_EQ((*reader)->ReadCounts({"X"}, *alignment, 5, cancel, refuse).code(),
            absl::StatusCode::kCancelled);
}

class SharedFile : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(SharedFile, ReadsWholeNumbers) {
  const auto [name, source] = GetParam();
  const std::string path = SharedDataPath(name);
  if (path.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA): " << name;
  const Readback got = ReadAll(path, source, 777);
  ASSERT_TRUE(got.status.ok()) << got.status;
  auto reader = OpenQuery(path);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(got.rows.size(), (*reader)->cell_names().size());
  for (const std::string& column : (*reader)->ObsColumnNames()) {
    const auto values = (*reader)->ReadObs(column);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_EQ(values->values.size(), got.rows.size());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, SharedFile,
    testing::Values(std::tuple("counts/gbm_5patient_5000x300.h5ad", "X"),
                    std::tuple("counts/kang_ctrlstim_4sample_1556.h5ad", "X"),
                    std::tuple("counts/kang_scgen_valid_counts_1975.h5ad", "X"),
                    std::tuple("counts/pbmc10k_cite_6855.h5ad", "X"),
                    std::tuple("counts/pbmc5k_rna_3994.h5ad", "X"),
                    std::tuple("counts/pbmc68k_scatlastb_700.h5ad", "layers/counts"),
                    std::tuple("counts/pbmc68k_scatlastb_700.h5ad", "raw/X"),
                    std::tuple("counts/pbmc_10k_protein_v3.h5ad", "X"),
                    std::tuple("counts/pbmc_5k_protein_v3.h5ad", "X"),
                    std::tuple("counts/split_kang_query_4donors.h5ad", "X"),
                    std::tuple("counts/split_kang_ref_4donors.h5ad", "X"),
                    std::tuple("formats/anndata_v0.7.0.h5ad", "X"),
                    std::tuple("formats/anndata_v0.7.0.h5ad", "raw/X"),
                    std::tuple("formats/anndata_v0.7.8.h5ad", "X"),
                    std::tuple("formats/anndata_v0.7.8.h5ad", "raw/X")));

class RefusedFile : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(RefusedFile, SaysWhy) {
  const auto [name, reason] = GetParam();
  const std::string path = SharedDataPath(name);
  if (path.empty()) GTEST_SKIP() << "no shared test data (PORTOLAN_TEST_DATA): " << name;
  const absl::Status status = ReadAll(path).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
}

INSTANTIATE_TEST_SUITE_P(
    Files, RefusedFile,
    testing::Values(std::tuple("formats/lognormalised_kang.h5ad", "fractional"),
                    std::tuple("formats/anndata_csr.h5ad", "negative"),
                    std::tuple("formats/anndata_csc.h5ad", "negative"),
                    std::tuple("formats/anndata_dense.h5ad", "negative"),
                    std::tuple("counts/luca_lambrechts_latent_25836x10.h5ad", "no matrix at all")));

}  // namespace
}  // namespace portolan
