#include "bench/query_file.h"

#include <algorithm>
#include <span>
#include <vector>

#include "bench/measure.h"
#include "bench/synthetic.h"
#include "core/io/hdf5_write.h"

namespace portolan::bench {
namespace {

constexpr int64_t kBlockCells = 1024;
constexpr hsize_t kChunk = 1 << 16;

// A list that grows as blocks are appended, as anndata makes those of a sparse matrix.
class GrowingList {
 public:
  GrowingList(const hdf5::Handle& group, const char* name, hid_t type) : type_(type) {
    const hdf5::Gate gate;
    const hsize_t none = 0;
    const hsize_t unlimited = H5S_UNLIMITED;
    const hdf5::Handle space(H5Screate_simple(1, &none, &unlimited));
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 1, &kChunk);
    dataset_ = hdf5::Handle(
        H5Dcreate2(group.id(), name, type, space.id(), H5P_DEFAULT, properties, H5P_DEFAULT));
    H5Pclose(properties);
    if (!dataset_.valid()) Fail(hdf5::LastError());
  }

  void Append(const void* values, hsize_t count) {
    if (count == 0) return;
    const hdf5::Gate gate;
    const hsize_t length = length_ + count;
    if (H5Dset_extent(dataset_.id(), &length) < 0) Fail(hdf5::LastError());
    const hdf5::Handle file(H5Dget_space(dataset_.id()));
    const hdf5::Handle memory(H5Screate_simple(1, &count, nullptr));
    H5Sselect_hyperslab(file.id(), H5S_SELECT_SET, &length_, nullptr, &count, nullptr);
    if (H5Dwrite(dataset_.id(), type_, memory.id(), file.id(), H5P_DEFAULT, values) < 0) {
      Fail(hdf5::LastError());
    }
    length_ = length;
  }

 private:
  hid_t type_;
  hdf5::Handle dataset_;
  hsize_t length_ = 0;
};

template <typename T>
void WriteList(const hdf5::Handle& group, const char* name, const std::vector<T>& values) {
  const int64_t length[] = {static_cast<int64_t>(values.size())};
  Must(hdf5::WriteNumbers<T>(group, name, length, values.data()).status());
}

void SetEncoding(const hdf5::Handle& object, const std::string& type, const std::string& version) {
  Must(hdf5::SetAttribute(object, "encoding-type", type));
  Must(hdf5::SetAttribute(object, "encoding-version", version));
}

void SetShape(const hdf5::Handle& group, int64_t rows, int64_t cols) {
  const hdf5::Gate gate;
  const hsize_t two = 2;
  const std::vector<int64_t> shape = {rows, cols};
  const hdf5::Handle space(H5Screate_simple(1, &two, nullptr));
  const hid_t attribute =
      H5Acreate2(group.id(), "shape", H5T_NATIVE_INT64, space.id(), H5P_DEFAULT, H5P_DEFAULT);
  if (H5Awrite(attribute, H5T_NATIVE_INT64, shape.data()) < 0) Fail(hdf5::LastError());
  H5Aclose(attribute);
}

std::vector<std::string> Names(const std::string& prefix, int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(prefix + std::to_string(i));
  return names;
}

hdf5::Handle Frame(const hdf5::Handle& file, const std::string& name,
                   const std::vector<std::string>& index, std::span<const std::string> columns) {
  hdf5::Handle frame = Must(hdf5::CreateGroup(file, name));
  SetEncoding(frame, "dataframe", "0.2.0");
  Must(hdf5::SetAttribute(frame, "_index", std::string("_index")));
  Must(hdf5::SetAttribute(frame, "column-order", columns));
  SetEncoding(Must(hdf5::WriteStrings(frame, "_index", index)), "string-array", "0.2.0");
  return frame;
}

void WriteObs(const hdf5::Handle& file, const QueryFileShape& shape) {
  const std::vector<std::string> columns = {"batch"};
  const hdf5::Handle obs = Frame(file, "obs", Names("cell", shape.cells), columns);
  const hdf5::Handle batch = Must(hdf5::CreateGroup(obs, "batch"));
  SetEncoding(batch, "categorical", "0.2.0");
  Must(hdf5::SetAttribute(batch, "ordered", false));
  std::vector<int16_t> codes(shape.cells);
  for (int64_t i = 0; i < shape.cells; ++i) codes[i] = static_cast<int16_t>(i % shape.batches);
  WriteList(batch, "codes", codes);
  SetEncoding(Must(hdf5::WriteStrings(batch, "categories", Names(shape.prefix, shape.batches))),
              "string-array", "0.2.0");
}

void WriteCounts(const hdf5::Handle& file, const QueryFileShape& shape) {
  const hdf5::Handle x = Must(hdf5::CreateGroup(file, "X"));
  SetEncoding(x, "csr_matrix", "0.1.0");
  SetShape(x, shape.cells, shape.genes);
  GrowingList data(x, "data", H5T_NATIVE_FLOAT);
  GrowingList indices(x, "indices", H5T_NATIVE_INT32);
  std::vector<int64_t> indptr = {0};
  for (int64_t at = 0; at < shape.cells; at += kBlockCells) {
    const CsrMatrix block =
        SyntheticCounts(at, std::min(kBlockCells, shape.cells - at), shape.genes, shape.density);
    data.Append(block.values.data(), block.values.size());
    indices.Append(block.columns.data(), block.columns.size());
    const int64_t before = indptr.back();
    for (int64_t row = 1; row <= block.rows(); ++row) {
      indptr.push_back(before + block.row_offsets[row]);
    }
  }
  WriteList(x, "indptr", indptr);
}

}  // namespace

void WriteQueryFile(const std::string& path, const QueryFileShape& shape) {
  hdf5::Handle file = Must(hdf5::CreateFile(path));
  SetEncoding(file, "anndata", "0.1.0");
  WriteCounts(file, shape);
  WriteObs(file, shape);
  Frame(file, "var", Names("gene", shape.genes), {}).Close();
  Must(hdf5::CloseFile(std::move(file)));
}

}  // namespace portolan::bench
