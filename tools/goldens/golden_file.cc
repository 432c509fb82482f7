#include "tools/goldens/golden_file.h"

#include "core/base/status_macros.h"
#include "core/io/hdf5.h"

namespace portolan {
namespace {

absl::StatusOr<std::vector<std::string>> ReadNames(const hdf5::Handle& file,
                                                   const std::string& name) {
  PORTOLAN_ASSIGN_OR_RETURN(const hdf5::Dataset dataset, hdf5::OpenDataset(file, name, name));
  return hdf5::ReadStrings(dataset);
}

}  // namespace

const GoldenArray* GoldenFile::Find(const std::string& name) const {
  const auto it = arrays.find(name);
  return it == arrays.end() ? nullptr : &it->second;
}

double GoldenFile::Scalar(const std::string& name, double otherwise) const {
  const GoldenArray* array = Find(name);
  return array == nullptr || array->values.empty() ? otherwise : array->values[0];
}

absl::StatusOr<GoldenFile> ReadGolden(const std::string& path) {
  PORTOLAN_ASSIGN_OR_RETURN(const hdf5::Handle file, hdf5::OpenFile(path));
  GoldenFile golden;
  PORTOLAN_ASSIGN_OR_RETURN(golden.genes, ReadNames(file, "genes"));
  PORTOLAN_ASSIGN_OR_RETURN(golden.cells, ReadNames(file, "obs_names"));
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, hdf5::Children(file));
  for (const std::string& name : names) {
    PORTOLAN_ASSIGN_OR_RETURN(const hdf5::Dataset dataset, hdf5::OpenDataset(file, name, name));
    const hdf5::ValueKind kind = dataset.type.kind;
    if (kind != hdf5::ValueKind::kFloat && kind != hdf5::ValueKind::kInteger) continue;
    GoldenArray array;
    array.shape = dataset.shape;
    PORTOLAN_ASSIGN_OR_RETURN(array.values, hdf5::ReadAll<double>(dataset));
    golden.arrays[name] = std::move(array);
  }
  return golden;
}

}  // namespace portolan
