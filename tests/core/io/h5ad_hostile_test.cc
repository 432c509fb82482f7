// Files that are broken, by accident or on purpose: an error or a success, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/base/field_error.h"
#include "core/io/hdf5_write.h"
#include "core/io/query_reader.h"
#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::HasSubstr;
using testing_io::FixturePath;
using testing_io::H5adBuilder;
using testing_io::ReadAll;
using testing_io::TempPath;

const std::vector<double> kData = {1, 2, 3};
const std::vector<double> kIndices = {0, 3, 1};
const std::vector<double> kIndptr = {0, 2, 2, 3};

struct Broken {
  const char* name;
  void (*build)(H5adBuilder&);
  const char* reason;
};

// A CSR matrix of 3 x 4 from its parts.
void Csr(H5adBuilder& builder, const std::vector<double>& data, const std::vector<double>& indices,
         const std::vector<double>& indptr) {
  builder.Group("X");
  builder.Attribute("X", "encoding-type", "csr_matrix");
  builder.Shape("X", {3, 4});
  builder.Dataset("X/data", {static_cast<int64_t>(data.size())}, H5T_IEEE_F32LE, data);
  builder.Dataset("X/indices", {static_cast<int64_t>(indices.size())}, H5T_STD_I64LE, indices);
  builder.Dataset("X/indptr", {static_cast<int64_t>(indptr.size())}, H5T_STD_I64LE, indptr);
}

std::string FieldOf(const absl::Status& status) {
  const auto violation = GetFieldViolation(status);
  return violation.has_value() ? violation->field : "";
}

class BrokenFile : public testing::TestWithParam<Broken> {};

TEST_P(BrokenFile, IsRefusedWithTheReason) {
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 3, 4);
  GetParam().build(builder);
  builder.Close();
  const absl::Status status = ReadAll(path).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    Parts, BrokenFile,
    testing::Values(
        Broken{"no_x", [](H5adBuilder&) {}, "no matrix at all"},
        Broken{"no_obs", [](H5adBuilder& b) { b.Remove("obs"); }, "no obs"},
        Broken{"no_index", [](H5adBuilder& b) { b.Remove("obs/_index"); }, "obs/_index"},
        Broken{"indptr_short",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, {0, 2, 3});
               },
               "do not fit"},
        Broken{"indptr_falls",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, {0, 3, 1, 3});
               },
               "ascend"},
        Broken{"indptr_from_one",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, {1, 2, 2, 3});
               },
               "ascend"},
        Broken{"indptr_beyond",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, {0, 2, 2, 9});
               },
               "ascend"},
        Broken{"indices_short",
               [](H5adBuilder& b) {
                 Csr(b, kData, {0, 1}, kIndptr);
               },
               "do not fit"},
        Broken{"index_beyond",
               [](H5adBuilder& b) {
                 Csr(b, kData, {0, 4, 1}, kIndptr);
               },
               "the index 4"},
        Broken{"index_negative",
               [](H5adBuilder& b) {
                 Csr(b, kData, {0, -1, 1}, kIndptr);
               },
               "the index -1"},
        Broken{"index_huge",
               [](H5adBuilder& b) {
                 Csr(b, kData, {0, 0x1p40, 1}, kIndptr);
               },
               "the index 1099511627776"},
        Broken{"wrong_shape",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, kIndptr);
                 b.Shape("X", {3, 400});
               },
               "(3, 400)"},
        Broken{"unknown_encoding",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, kIndptr);
                 b.Attribute("X", "encoding-type", "coo_matrix");
               },
               "coo_matrix"},
        Broken{"data_is_group",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, kIndptr);
                 b.Remove("X/data");
                 b.Group("X/data");
               },
               "a group where a dataset"},
        Broken{"dense_too_short",
               [](H5adBuilder& b) {
                 b.Dataset("X", {2, 4}, H5T_IEEE_F32LE, {});
               },
               "(2, 4)"},
        Broken{"dense_of_rank_one",
               [](H5adBuilder& b) { b.Dataset("X", {12}, H5T_IEEE_F32LE, {}); }, "(12)"},
        Broken{"values_declared_but_not_stored",
               [](H5adBuilder& b) {
                 Csr(b, kData, kIndices, kIndptr);
                 b.Remove("X/data");
                 b.Dataset("X/data", {int64_t{1} << 40}, H5T_IEEE_F32LE, {}, {1 << 20}, true);
               },
               "stores only"},
        Broken{"huge_chunks",
               [](H5adBuilder& b) {
                 b.Dataset("X", {3, 4}, H5T_IEEE_F32LE, {}, {3, 4}, true);
                 b.Remove("X");
                 b.Dataset("X", {1 << 16, 1 << 15}, H5T_IEEE_F32LE, {}, {1 << 15, 1 << 14}, true);
               },
               "1 GiB"},
        Broken{"no_cells",
               [](H5adBuilder& b) {
                 b.Remove("obs/_index");
                 b.Dataset("obs/_index", {0}, H5T_STD_I32LE, {});
               },
               "0 cells"},
        Broken{"nan_value",
               [](H5adBuilder& b) {
                 Csr(b, {1, std::nan(""), 2}, kIndices, kIndptr);
               },
               "not a finite"},
        Broken{"duplicate_cells",
               [](H5adBuilder& b) {
                 b.Remove("obs/_index");
                 b.Dataset("obs/_index", {3}, H5T_STD_I32LE, {7, 8, 7});
               },
               "\"7\""}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(HostileFile, DoesNotFollowALinkIntoAnotherFile) {
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 12, 9);
  {
    const hdf5::Gate gate;
    H5Lcreate_external(FixturePath("dense_plain.h5ad").c_str(), "/X", builder.file().id(), "X",
                       H5P_DEFAULT, H5P_DEFAULT);
  }
  builder.Close();
  EXPECT_EQ(ReadAll(path).status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(HostileFile, DoesNotReadValuesKeptInAnotherFile) {
  const std::string other = TempPath("other");
  testing_io::WriteBytes(other, std::string(48, '\0'));
  const std::string path = TempPath("x");
  H5adBuilder builder(path, 3, 4);
  {
    const hdf5::Gate gate;
    const hsize_t dims[] = {3, 4};
    const hdf5::Handle space(H5Screate_simple(2, dims, nullptr));
    const hdf5::Handle plist(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_external(plist.id(), other.c_str(), 0, 48);
    const hdf5::Handle dataset(H5Dcreate2(builder.file().id(), "X", H5T_IEEE_F32LE, space.id(),
                                          H5P_DEFAULT, plist.id(), H5P_DEFAULT));
  }
  builder.Close();
  EXPECT_THAT(std::string(ReadAll(path).status.message()), HasSubstr("other files"));
}

TEST(HostileFile, TruncatedAnywhereIsAnErrorOrASuccess) {
  const std::string whole = testing_io::ReadBytes(FixturePath("csr_lzf.h5ad"));
  const std::string path = TempPath("x");
  ASSERT_GT(whole.size(), 1000u);
  for (size_t length = 0; length < whole.size(); length += whole.size() / 101) {
    testing_io::WriteBytes(path, whole.substr(0, length));
    const absl::Status status = ReadAll(path).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(HostileFile, WithAnyByteChangedIsAnErrorOrASuccess) {
  for (const char* name : {"csr_lzf.h5ad", "csc_gzip.h5ad", "dense_plain.h5ad"}) {
    const std::string whole = testing_io::ReadBytes(FixturePath(name));
    const std::string path = TempPath("x");
    int refused = 0;
    for (size_t at = 0; at < whole.size(); at += 97) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ (at % 2 == 0 ? 0xff : 0x10));
      testing_io::WriteBytes(path, bytes);
      const auto got = ReadAll(path);
      if (!got.status.ok()) ++refused;
    }
    EXPECT_GT(refused, 0) << name;
  }
}

TEST(HostileFile, TextsWhoseSizesDoNotFitAreRefusedBeforeHdf5ReadsThem) {
  const std::string whole = testing_io::ReadBytes(FixturePath("csr_gzip.h5ad"));
  const size_t heap = whole.find("GCOL");
  ASSERT_NE(heap, std::string::npos);
  const std::string path = TempPath("x");
  for (const size_t offset : {8, 16 + 8, 16 + 12, 16 + 15}) {
    std::string bytes = whole;
    bytes[heap + offset] = '\x7f';
    bytes[heap + offset + 1] = '\x7f';
    testing_io::WriteBytes(path, bytes);
    EXPECT_EQ(FieldOf(OpenQuery(path).status()), "file") << offset;
  }
}

TEST(HostileFile, OtherThanHdf5IsNamed) {
  const std::string path = TempPath("x");
  testing_io::WriteBytes(path, "PK\x03\x04 something");
  EXPECT_THAT(std::string(OpenQuery(path).status().message()), HasSubstr("zip archive"));
  testing_io::WriteBytes(path, "");
  EXPECT_THAT(std::string(OpenQuery(path).status().message()), HasSubstr("is empty"));
  EXPECT_EQ(OpenQuery(testing::TempDir()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenQuery(TempPath("absent")).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace portolan
