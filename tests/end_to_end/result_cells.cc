#include "tests/end_to_end/result_cells.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

namespace portolan::end_to_end {
namespace {

// The value, or a failure of the test and an empty one.
template <typename T>
T Get(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *std::move(value) : T{};
}

hdf5::Dataset OpenUns(const hdf5::Handle& file, const std::string& key) {
  const std::string path = "uns/portolan/" + key;
  return Get(hdf5::OpenDataset(file, path, path));
}

}  // namespace

Embedding ReadObsm(const std::string& path, const std::string& name) {
  const hdf5::Handle file = Get(hdf5::OpenFile(path));
  const std::string field = "obsm/" + name;
  const hdf5::Dataset dataset = Get(hdf5::OpenDataset(file, field, field));
  EXPECT_EQ(dataset.shape.size(), 2u) << field;
  if (dataset.shape.size() != 2) return {};
  EXPECT_EQ(dataset.type.kind, hdf5::ValueKind::kFloat) << field;
  return {dataset.shape[0], dataset.shape[1], Get(hdf5::ReadAll<float>(dataset))};
}

std::vector<std::string> ReadCellNames(const std::string& path) {
  const auto reader = OpenQuery(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return reader.ok() ? (*reader)->cell_names() : std::vector<std::string>();
}

std::vector<std::optional<std::string>> ReadObs(const std::string& path, const std::string& name) {
  const auto reader = OpenQuery(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return {};
  return Get((*reader)->ReadObs(name)).values;
}

std::vector<double> ReadNumbers(const std::string& path, const std::string& key) {
  const hdf5::Handle file = Get(hdf5::OpenFile(path));
  return Get(hdf5::ReadAll<double>(OpenUns(file, key)));
}

double ReadNumber(const std::string& path, const std::string& key) {
  const std::vector<double> numbers = ReadNumbers(path, key);
  EXPECT_EQ(numbers.size(), 1u) << key;
  return numbers.empty() ? 0.0 : numbers.front();
}

std::vector<std::string> ReadTexts(const std::string& path, const std::string& key) {
  const hdf5::Handle file = Get(hdf5::OpenFile(path));
  return Get(hdf5::ReadStrings(OpenUns(file, key)));
}

std::string ReadText(const std::string& path, const std::string& key) {
  const std::vector<std::string> texts = ReadTexts(path, key);
  EXPECT_EQ(texts.size(), 1u) << key;
  return texts.empty() ? "" : texts.front();
}

std::map<std::string, std::string> LatentByCell(const std::string& path) {
  const std::vector<std::string> cells = ReadCellNames(path);
  const Embedding latent = ReadObsm(path, "X_portolan");
  EXPECT_EQ(latent.cells, static_cast<int64_t>(cells.size()));
  std::map<std::string, std::string> rows;
  if (latent.cells != static_cast<int64_t>(cells.size())) return rows;
  for (size_t cell = 0; cell < cells.size(); ++cell) {
    const std::span<const float> row = latent.row(static_cast<int64_t>(cell));
    rows[cells[cell]].assign(reinterpret_cast<const char*>(row.data()), row.size_bytes());
  }
  EXPECT_EQ(rows.size(), cells.size());
  return rows;
}

double LabelAccuracy(const std::string& path, const std::string& label) {
  const auto given = ReadObs(path, label);
  const auto truth = ReadObs(path, "cell_type");
  EXPECT_EQ(given.size(), truth.size());
  if (given.size() != truth.size() || given.empty()) return 0.0;
  int64_t right = 0;
  for (size_t cell = 0; cell < given.size(); ++cell) {
    right += given[cell].has_value() && given[cell] == truth[cell] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(given.size());
}

}  // namespace portolan::end_to_end
