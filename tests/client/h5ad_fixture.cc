#include "tests/client/h5ad_fixture.h"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace portolan::client {
namespace {

// What a test creates and closes by scope.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {
    if (id < 0) ADD_FAILURE() << "HDF5 refused";
  }
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  Id(const Id&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

hid_t StringType() {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

void SetAttribute(hid_t object, const char* name, const std::string& value) {
  const Id type(StringType(), H5Tclose);
  const Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id attribute(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const char* text = value.c_str();
  H5Awrite(attribute, type, &text);
}

void SetStringListAttribute(hid_t object, const char* name, const std::string& value) {
  const Id type(StringType(), H5Tclose);
  const hsize_t one = 1;
  const Id space(H5Screate_simple(1, &one, nullptr), H5Sclose);
  const Id attribute(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const char* text = value.c_str();
  H5Awrite(attribute, type, &text);
}

// An empty list of column names is an empty array of numbers, as h5py writes it.
void SetEmptyListAttribute(hid_t object, const char* name) {
  const hsize_t none = 0;
  const Id space(H5Screate_simple(1, &none, nullptr), H5Sclose);
  const Id attribute(H5Acreate2(object, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
}

void SetEncoding(hid_t object, const std::string& type, const std::string& version) {
  SetAttribute(object, "encoding-type", type);
  SetAttribute(object, "encoding-version", version);
}

// A boolean is an enumeration over int8, as h5py writes it.
void SetFalseAttribute(hid_t object, const char* name) {
  const Id type(H5Tenum_create(H5T_NATIVE_INT8), H5Tclose);
  const int8_t values[] = {0, 1};
  H5Tenum_insert(type, "FALSE", &values[0]);
  H5Tenum_insert(type, "TRUE", &values[1]);
  const Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id attribute(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  H5Awrite(attribute, type, &values[0]);
}

void WriteStrings(hid_t parent, const char* name, const std::vector<std::string>& values) {
  const Id type(StringType(), H5Tclose);
  const hsize_t size = values.size();
  const Id space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  const Id dataset(H5Dcreate2(parent, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                   H5Dclose);
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data());
  SetEncoding(dataset, "string-array", "0.2.0");
}

void WriteDense(hid_t parent, const char* name, const Fixture::Dense& rows) {
  const hsize_t shape[] = {rows.size(), rows.at(0).size()};
  std::vector<float> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  const Id space(H5Screate_simple(2, shape, nullptr), H5Sclose);
  const Id dataset(
      H5Dcreate2(parent, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, flat.data());
  SetEncoding(dataset, "array", "0.2.0");
}

void WriteCategorical(hid_t parent, const char* name,
                      const std::vector<std::optional<std::string>>& values) {
  std::vector<std::string> categories;
  for (const auto& value : values) {
    if (value) categories.push_back(*value);
  }
  std::sort(categories.begin(), categories.end());
  categories.erase(std::unique(categories.begin(), categories.end()), categories.end());
  std::vector<int8_t> codes;
  for (const auto& value : values) {
    const auto found =
        value ? std::find(categories.begin(), categories.end(), *value) : categories.begin() - 1;
    codes.push_back(static_cast<int8_t>(found - categories.begin()));
  }
  const Id group(H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  SetEncoding(group, "categorical", "0.2.0");
  SetFalseAttribute(group, "ordered");
  WriteStrings(group, "categories", categories);
  const hsize_t size = codes.size();
  const Id space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  const Id dataset(
      H5Dcreate2(group, "codes", H5T_STD_I8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  H5Dwrite(dataset, H5T_NATIVE_INT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, codes.data());
  SetEncoding(dataset, "array", "0.2.0");
}

// Removes the files at the end of the process.
struct HandedOut {
  std::vector<std::string> paths;
  ~HandedOut() {
    for (const std::string& path : paths) std::remove(path.c_str());
  }
};

hid_t Group(hid_t parent, const char* name, const char* encoding, const char* version) {
  const hid_t group = H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  SetEncoding(group, encoding, version);
  return group;
}

}  // namespace

std::string UniquePath(const std::string& suffix) {
  static HandedOut handed_out;
  handed_out.paths.push_back(testing::TempDir() + "portolan_client_" + std::to_string(getpid()) +
                             "_" + std::to_string(handed_out.paths.size()) + suffix);
  return handed_out.paths.back();
}

Fixture SmallQuery() {
  Fixture query;
  query.genes = {"g3", "g1", "other", "g0"};
  query.cells = {"cell0", "cell1", "cell2", "cell3", "cell4"};
  query.batches = {"a/b", "c", "a/b", "a/b", "c"};
  query.x = {{1, 0, 9, 2}, {0, 5, 9, 0}, {300, 0, 0, 0}, {0, 0, 0, 4}, {2, 1, 1, 3}};
  return query;
}

std::string WriteH5ad(const Fixture& fixture) {
  const std::string path = UniquePath(".h5ad");
  const Id file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  SetEncoding(file, "anndata", "0.1.0");
  WriteDense(file, "X", fixture.x);
  const Id obs(Group(file, "obs", "dataframe", "0.2.0"), H5Gclose);
  SetAttribute(obs, "_index", "_index");
  SetStringListAttribute(obs, "column-order", "donor");
  WriteStrings(obs, "_index", fixture.cells);
  WriteCategorical(obs, "donor", fixture.batches);
  const Id var(Group(file, "var", "dataframe", "0.2.0"), H5Gclose);
  SetAttribute(var, "_index", "_index");
  SetEmptyListAttribute(var, "column-order");
  WriteStrings(var, "_index", fixture.genes);
  const Id layers(Group(file, "layers", "dict", "0.1.0"), H5Gclose);
  for (const auto& [name, rows] : fixture.layers) WriteDense(layers, name.c_str(), rows);
  for (const char* name : {"obsm", "varm", "obsp", "varp", "uns"}) {
    const Id group(Group(file, name, "dict", "0.1.0"), H5Gclose);
  }
  return path;
}

std::vector<double> ReadNumbers(const std::string& file_path, const std::string& path) {
  const Id file(H5Fopen(file_path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const Id dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset < 0) return {};
  const Id space(H5Dget_space(dataset), H5Sclose);
  std::vector<double> values(H5Sget_simple_extent_npoints(space));
  H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  return values;
}

std::vector<std::string> ReadStrings(const std::string& file_path, const std::string& path) {
  const Id file(H5Fopen(file_path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const Id dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset < 0) return {};
  const Id space(H5Dget_space(dataset), H5Sclose);
  std::vector<char*> texts(H5Sget_simple_extent_npoints(space));
  const Id type(StringType(), H5Tclose);
  H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data());
  std::vector<std::string> values(texts.begin(), texts.end());
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts.data());
  return values;
}

}  // namespace portolan::client
