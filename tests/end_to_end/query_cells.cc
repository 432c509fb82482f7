#include "tests/end_to_end/query_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5.h"
#include "core/io/hdf5_write.h"
#include "core/io/query_reader.h"

namespace portolan::end_to_end {
namespace {

using Column = std::vector<std::optional<std::string>>;

// The value, or a failure of the test and an empty one.
template <typename T>
T Get(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *std::move(value) : T{};
}

template <typename T>
std::vector<T> ReadNumbers(const hdf5::Handle& file, const std::string& path) {
  return Get(hdf5::ReadAll<T>(Get(hdf5::OpenDataset(file, path, path))));
}

template <typename T>
void WriteNumbers(const hdf5::Handle& group, const std::string& name, const std::vector<T>& data) {
  const int64_t shape[] = {static_cast<int64_t>(data.size())};
  const auto dataset = hdf5::WriteNumbers<T>(group, name, shape, data.data());
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_TRUE(h5ad::SetEncoding(*dataset, "array", "0.2.0").ok());
}

void WriteColumn(const hdf5::Handle& obs, const std::string& name, const Column& column) {
  std::map<std::string, int32_t> places;
  for (const auto& value : column) {
    if (value) places.emplace(*value, 0);
  }
  std::vector<std::string> categories;
  for (auto& [category, place] : places) {
    place = static_cast<int32_t>(categories.size());
    categories.push_back(category);
  }
  std::vector<int32_t> codes;
  for (const auto& value : column) codes.push_back(value ? places[*value] : -1);
  const hdf5::Handle group =
      Get(h5ad::WriteCodes(obs, name, codes, static_cast<int64_t>(categories.size()), false));
  EXPECT_TRUE(h5ad::WriteStringArray(group, "categories", categories).ok());
}

void WriteFrame(const hdf5::Handle& file, const std::string& name,
                const std::vector<std::string>& index,
                const std::vector<std::pair<std::string, Column>>& columns) {
  const hdf5::Handle frame = Get(hdf5::CreateGroup(file, name));
  std::vector<std::string> order;
  for (const auto& [column, values] : columns) {
    WriteColumn(frame, column, values);
    order.push_back(column);
  }
  EXPECT_TRUE(h5ad::SetEncoding(frame, "dataframe", "0.2.0").ok());
  EXPECT_TRUE(hdf5::SetAttribute(frame, "_index", std::string("_index")).ok());
  EXPECT_TRUE(hdf5::SetAttribute(frame, "column-order", order).ok());
  EXPECT_TRUE(h5ad::WriteStringArray(frame, "_index", index).ok());
}

// hdf5_write.h has no attributes of integers, since results copy their matrices.
void SetShape(const hdf5::Handle& matrix, int64_t rows, int64_t columns) {
  const hdf5::Gate gate;
  const int64_t shape[] = {rows, columns};
  const hsize_t two = 2;
  const hid_t space = H5Screate_simple(1, &two, nullptr);
  const hid_t attribute =
      H5Acreate2(matrix.id(), "shape", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, shape), 0);
  H5Aclose(attribute);
  H5Sclose(space);
}

}  // namespace

QueryCells QueryCells::Read(const std::string& path) {
  QueryCells out;
  {
    auto reader = OpenQuery(path);
    EXPECT_TRUE(reader.ok()) << reader.status();
    if (!reader.ok()) return out;
    out.cells = (*reader)->cell_names();
    out.genes = Get((*reader)->GeneNames({"X"}));
    out.batches = Get((*reader)->ReadObs("batch")).values;
    out.cell_types = Get((*reader)->ReadObs("cell_type")).values;
  }
  const hdf5::Handle file = Get(hdf5::OpenFile(path));
  out.row_offsets = ReadNumbers<int64_t>(file, "X/indptr");
  out.columns = ReadNumbers<int32_t>(file, "X/indices");
  out.values = ReadNumbers<float>(file, "X/data");
  return out;
}

QueryCells QueryCells::SelectRows(std::span<const int64_t> rows) const {
  QueryCells out;
  out.genes = genes;
  for (const int64_t row : rows) {
    out.cells.push_back(cells[row]);
    out.batches.push_back(batches[row]);
    out.cell_types.push_back(cell_types[row]);
    const auto begin = row_offsets[row];
    const auto end = row_offsets[row + 1];
    out.columns.insert(out.columns.end(), columns.begin() + begin, columns.begin() + end);
    out.values.insert(out.values.end(), values.begin() + begin, values.begin() + end);
    out.row_offsets.push_back(static_cast<int64_t>(out.columns.size()));
  }
  return out;
}

QueryCells QueryCells::SelectBatch(const std::string& batch) const {
  std::vector<int64_t> rows;
  for (size_t row = 0; row < cells.size(); ++row) {
    if (batches[row] == batch) rows.push_back(static_cast<int64_t>(row));
  }
  return SelectRows(rows);
}

QueryCells QueryCells::FirstRows(int64_t count) const {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return SelectRows(rows);
}

QueryCells QueryCells::Transposed() const {
  QueryCells out;
  out.cells = genes;
  out.genes = cells;
  out.batches.assign(genes.size(), "lab_t");
  out.cell_types.assign(genes.size(), std::nullopt);
  std::vector<std::vector<std::pair<int32_t, float>>> rows(genes.size());
  for (size_t cell = 0; cell < cells.size(); ++cell) {
    for (int64_t i = row_offsets[cell]; i < row_offsets[cell + 1]; ++i) {
      rows[columns[i]].emplace_back(static_cast<int32_t>(cell), values[i]);
    }
  }
  for (const auto& row : rows) {
    for (const auto& [column, value] : row) {
      out.columns.push_back(column);
      out.values.push_back(value);
    }
    out.row_offsets.push_back(static_cast<int64_t>(out.columns.size()));
  }
  return out;
}

void QueryCells::Write(const std::string& path, bool with_counts) const {
  hdf5::Handle file = Get(hdf5::CreateFile(path));
  EXPECT_TRUE(h5ad::SetEncoding(file, "anndata", "0.1.0").ok());
  WriteFrame(file, "obs", cells, {{"batch", batches}, {"cell_type", cell_types}});
  WriteFrame(file, "var", genes, {});
  if (with_counts) {
    const hdf5::Handle x = Get(hdf5::CreateGroup(file, "X"));
    EXPECT_TRUE(h5ad::SetEncoding(x, "csr_matrix", "0.1.0").ok());
    SetShape(x, static_cast<int64_t>(cells.size()), static_cast<int64_t>(genes.size()));
    WriteNumbers(x, "data", values);
    WriteNumbers(x, "indices", columns);
    WriteNumbers(x, "indptr", row_offsets);
  }
  EXPECT_TRUE(hdf5::CloseFile(std::move(file)).ok());
}

}  // namespace portolan::end_to_end
