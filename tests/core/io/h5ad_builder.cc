#include "tests/core/io/h5ad_builder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5_write.h"
#include "tests/paths.h"

namespace portolan::testing_io {
namespace {

using hdf5::Handle;

void Require(bool ok, const char* what) {
  if (ok) return;
  ADD_FAILURE() << "building a test file: " << what << ": " << hdf5::LastError();
  std::abort();
}

void Frame(const Handle& file, const std::string& name, const std::string& prefix, int64_t rows) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < rows; ++i) names.push_back(absl::StrCat(prefix, i));
  const auto group = hdf5::CreateGroup(file, name);
  Require(group.ok(), "group");
  Require(h5ad::SetEncoding(*group, "dataframe", "0.2.0").ok(), "encoding");
  Require(hdf5::SetAttribute(*group, "_index", std::string("_index")).ok(), "_index");
  Require(hdf5::SetAttribute(*group, "column-order", std::vector<std::string>()).ok(), "order");
  Require(h5ad::WriteStringArray(*group, "_index", names).ok(), "names");
}

}  // namespace

std::string TempPath(const std::string& name) {
  const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
  std::string unique =
      absl::StrCat(test->test_suite_name(), ".", test->name(), ".", getpid(), ".", name);
  for (char& c : unique) {
    if (c == '/') c = '_';
  }
  return (std::filesystem::path(testing::TempDir()) / unique).string();
}

std::string FixturePath(const std::string& name) {
  return absl::StrCat(SourceDir(), "/tests/data/h5ad/", name);
}

std::string SharedDataPath(const std::string& name) {
  const char* const folder = std::getenv("PORTOLAN_TEST_DATA");
  const std::string path =
      absl::StrCat(folder != nullptr ? folder : SourceDir() + "/../shared/data", "/", name);
  return std::filesystem::exists(path) ? path : "";
}

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

H5adBuilder::H5adBuilder(const std::string& path, int64_t cells, int64_t genes) {
  std::filesystem::remove(path);
  auto file = hdf5::CreateFile(path);
  Require(file.ok(), "file");
  file_ = *std::move(file);
  Frame(file_, "obs", "cell", cells);
  Frame(file_, "var", "gene", genes);
}

void H5adBuilder::Dataset(const std::string& path, const std::vector<int64_t>& shape, hid_t type,
                          const std::vector<double>& values, const std::vector<int64_t>& chunk,
                          bool compress) {
  const hdf5::Gate gate;
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  const Handle space(shape.empty()
                         ? H5Screate(H5S_SCALAR)
                         : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
  const Handle plist(H5Pcreate(H5P_DATASET_CREATE));
  if (!chunk.empty()) {
    const std::vector<hsize_t> extent(chunk.begin(), chunk.end());
    H5Pset_chunk(plist.id(), static_cast<int>(extent.size()), extent.data());
    if (compress) {
      H5Pset_shuffle(plist.id());
      H5Pset_deflate(plist.id(), 4);
    }
  }
  const Handle dataset(
      H5Dcreate2(file_.id(), path.c_str(), type, space.id(), H5P_DEFAULT, plist.id(), H5P_DEFAULT));
  Require(dataset.valid(), path.c_str());
  if (values.empty()) return;
  if (H5Tget_class(type) == H5T_ENUM) {
    const std::vector<int8_t> codes(values.begin(), values.end());
    Require(H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, codes.data()) >= 0,
            path.c_str());
    return;
  }
  Require(
      H5Dwrite(dataset.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
      path.c_str());
}

void H5adBuilder::Group(const std::string& path) {
  Require(hdf5::CreateGroup(file_, path).ok(), path.c_str());
}

void H5adBuilder::Attribute(const std::string& path, const char* name, const std::string& value) {
  const auto object = hdf5::OpenObject(file_, path);
  Require(object.ok() && hdf5::SetAttribute(*object, name, value).ok(), path.c_str());
}

void H5adBuilder::Shape(const std::string& path, const std::vector<int64_t>& shape) {
  const hdf5::Gate gate;
  const auto object = hdf5::OpenObject(file_, path);
  Require(object.ok() && hdf5::RemoveAttribute(*object, "shape").ok(), path.c_str());
  const hsize_t rank = shape.size();
  const Handle space(H5Screate_simple(1, &rank, nullptr));
  const Handle attribute(
      H5Acreate2(object->id(), "shape", H5T_STD_I64LE, space.id(), H5P_DEFAULT, H5P_DEFAULT));
  Require(H5Awrite(attribute.id(), H5T_NATIVE_INT64, shape.data()) >= 0, path.c_str());
}

void H5adBuilder::Remove(const std::string& path) {
  Require(hdf5::Remove(file_, path).ok(), path.c_str());
}

void H5adBuilder::Csr(const std::string& path, int64_t rows, int64_t columns,
                      const std::vector<double>& dense, hid_t value_type, hid_t index_type) {
  std::vector<double> data;
  std::vector<double> indices;
  std::vector<double> indptr{0};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      if (dense[row * columns + column] == 0) continue;
      data.push_back(dense[row * columns + column]);
      indices.push_back(static_cast<double>(column));
    }
    indptr.push_back(static_cast<double>(data.size()));
  }
  const auto stored = static_cast<int64_t>(data.size());
  Group(path);
  Attribute(path, "encoding-type", "csr_matrix");
  Attribute(path, "encoding-version", "0.1.0");
  Shape(path, {rows, columns});
  Dataset(path + "/data", {stored}, value_type, data);
  Dataset(path + "/indices", {stored}, index_type, indices);
  Dataset(path + "/indptr", {rows + 1}, index_type, indptr);
}

void H5adBuilder::Close() { Require(hdf5::CloseFile(std::move(file_)).ok(), "closing"); }

ProteinReadback ReadProteins(const std::string& path, const ProteinSource& source,
                             const std::vector<std::string>& panel, int64_t max_rows) {
  ProteinReadback out;
  const auto reader = OpenQuery(path);
  if (!reader.ok()) return {reader.status(), {}, {}, {}};
  auto names = (*reader)->ProteinNames(source);
  if (!names.ok()) return {names.status(), {}, {}, {}};
  out.names = *std::move(names);
  const auto alignment = ProteinAlignment::Create(panel, out.names);
  if (!alignment.ok()) return {alignment.status(), {}, {}, {}};
  out.status = (*reader)->ReadProteins(
      source, *alignment, max_rows, CancelToken(), [&](int64_t first, std::vector<float> values) {
        out.block_starts.push_back(first);
        out.values.insert(out.values.end(), values.begin(), values.end());
        return absl::OkStatus();
      });
  return out;
}

Readback ReadAll(const std::string& path, const std::string& source, int64_t max_rows,
                 const std::vector<std::string>& reference_genes) {
  Readback out;
  auto reader = OpenQuery(path, {.reference_genes = reference_genes});
  if (!reader.ok()) return {reader.status(), {}, {}, {}};
  auto genes = (*reader)->GeneNames({source});
  if (!genes.ok()) return {genes.status(), {}, {}, {}};
  out.genes = *std::move(genes);
  std::vector<std::string> reference;
  std::set<std::string> seen;
  for (const std::string& gene : out.genes) {
    if (seen.insert(gene).second) reference.push_back(gene);
  }
  const auto alignment = GeneAlignment::Create(reference, out.genes, {});
  if (!alignment.ok()) return {alignment.status(), {}, {}, {}};
  out.status = (*reader)->ReadCounts({source}, *alignment, max_rows, CancelToken(),
                                     [&](int64_t first, CsrMatrix block) {
                                       EXPECT_EQ(first, static_cast<int64_t>(out.rows.size()));
                                       out.block_rows.push_back(block.rows());
                                       for (int64_t row = 0; row < block.rows(); ++row) {
                                         auto& dense = out.rows.emplace_back(block.cols, 0.0f);
                                         const auto columns = block.row_columns(row);
                                         for (size_t i = 0; i < columns.size(); ++i) {
                                           EXPECT_TRUE(i == 0 || columns[i - 1] < columns[i]);
                                           EXPECT_NE(block.row_values(row)[i], 0.0f);
                                           dense[columns[i]] = block.row_values(row)[i];
                                         }
                                       }
                                       return absl::OkStatus();
                                     });
  return out;
}

}  // namespace portolan::testing_io
