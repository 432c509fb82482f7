// HDF5 files, h5ad and 10x: the input chooses what a file holds, and where it lies. The bytes of an
// HDF5 file themselves are left to HDF5's own tests: its parser is not built to be fuzzed.
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/io/hdf5.h"
#include "core/io/hdf5_write.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/check_reader.h"
#include "tests/fuzz/scratch_folder.h"

namespace portolan::fuzz {
namespace {

using hdf5::Handle;

/// Writes one file as the bytes say.
class Hdf5Maker {
 public:
  Hdf5Maker(ByteSource& bytes, const std::string& path) : bytes_(bytes) {
    auto file = hdf5::CreateFile(path);
    if (!file.ok()) std::abort();
    file_ = *std::move(file);
  }

  void Make() {
    cells_ = 1 + bytes_.Below(4);
    genes_ = 1 + bytes_.Below(6);
    switch (bytes_.Below(3)) {
      case 0:
        return MakeH5ad();
      case 1:
        return MakeTenx3();
      default:
        return MakeTenx2("mm10");
    }
  }

  void Close() { hdf5::CloseFile(std::move(file_)).IgnoreError(); }

 private:
  // A length that mostly is the right one.
  int64_t Length(int64_t right) { return bytes_.Rarely() ? bytes_.Below(9) : right; }

  hid_t Type() {
    const hid_t types[] = {H5T_IEEE_F32LE, H5T_STD_I32LE, H5T_STD_I64LE, H5T_IEEE_F64LE,
                           H5T_STD_I8LE,   H5T_STD_U8BE,  H5T_STD_U64LE, H5T_STD_I16BE};
    return types[bytes_.Below(8)];
  }

  // Chunks, and filters upon them.
  Handle Layout(const std::vector<hsize_t>& dims) {
    Handle plist(H5Pcreate(H5P_DATASET_CREATE));
    const int choice = bytes_.Below(6);
    if (choice < 2 || dims.empty()) return plist;
    std::vector<hsize_t> chunk;
    for (const hsize_t extent : dims) {
      chunk.push_back(std::min<hsize_t>(std::max<hsize_t>(extent, 1), 1 + bytes_.Below(4)));
    }
    H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data());
    if (choice == 3) H5Pset_deflate(plist.id(), 1);
    if (choice == 4) H5Pset_shuffle(plist.id());
    if (choice == 5) H5Pset_fletcher32(plist.id());
    return plist;
  }

  void Numbers(const std::string& path, std::vector<hsize_t> dims,
               const std::vector<double>& values) {
    if (bytes_.Rarely()) dims.push_back(1);
    const hid_t type = Type();
    const Handle space(dims.empty()
                           ? H5Screate(H5S_SCALAR)
                           : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
    const Handle plist = Layout(dims);
    const Handle dataset(H5Dcreate2(file_.id(), path.c_str(), type, space.id(), H5P_DEFAULT,
                                    plist.id(), H5P_DEFAULT));
    if (!dataset.valid() || bytes_.Rarely()) return;  // never written: all zeros
    const auto size = static_cast<size_t>(H5Sget_simple_extent_npoints(space.id()));
    std::vector<double> all = values;
    all.resize(std::max<size_t>(size, 1));
    H5Dwrite(dataset.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data());
  }

  std::vector<double> Values(int64_t count) {
    std::vector<double> out;
    for (int64_t i = 0; i < count; ++i) out.push_back(bytes_.Number());
    return out;
  }

  void List(const std::string& path, int64_t count) {
    Numbers(path, {static_cast<hsize_t>(count)}, Values(count));
  }

  void Texts(const std::string& path, const char* prefix, int64_t right) {
    if (bytes_.Rarely()) return;
    std::vector<std::string> values;
    const int64_t count = Length(right);
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(bytes_.Rarely() ? bytes_.Text() : absl::StrCat(prefix, i));
    }
    if (bytes_.Rarely()) return List(path, count);
    if (bytes_.Below(2) == 0) {
      hdf5::WriteStrings(file_, path, values).status().IgnoreError();
      return;
    }
    constexpr size_t kWidth = 6;
    std::string buffer;
    for (std::string& value : values) {
      value.resize(kWidth, '\0');
      buffer += value;
    }
    const Handle type(H5Tcopy(H5T_C_S1));
    H5Tset_size(type.id(), kWidth);
    H5Tset_strpad(type.id(), static_cast<H5T_str_t>(bytes_.Below(3)));
    const hsize_t dims[] = {values.size()};
    const Handle space(H5Screate_simple(1, dims, nullptr));
    const Handle dataset(H5Dcreate2(file_.id(), path.c_str(), type.id(), space.id(), H5P_DEFAULT,
                                    H5P_DEFAULT, H5P_DEFAULT));
    if (dataset.valid() && !values.empty()) {
      H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer.data());
    }
  }

  void Group(const std::string& path) { hdf5::CreateGroup(file_, path).status().IgnoreError(); }

  void Attribute(const std::string& path, const char* name, const std::string& value) {
    if (bytes_.Rarely()) return;
    const auto object = hdf5::OpenObject(file_, path);
    if (object.ok()) {
      hdf5::SetAttribute(*object, name, bytes_.Rarely() ? bytes_.Text() : value).IgnoreError();
    }
  }

  void Attribute(const std::string& path, const char* name,
                 const std::vector<std::string>& values) {
    const auto object = hdf5::OpenObject(file_, path);
    if (object.ok()) hdf5::SetAttribute(*object, name, values).IgnoreError();
  }

  void Shape(const std::string& path, int64_t rows, int64_t columns) {
    if (bytes_.Rarely()) return;
    const auto object = hdf5::OpenObject(file_, path);
    if (!object.ok()) return;
    const double shape[] = {bytes_.Rarely() ? bytes_.Number() : static_cast<double>(rows),
                            bytes_.Rarely() ? bytes_.Number() : static_cast<double>(columns)};
    const hsize_t rank = bytes_.Rarely() ? 1 : 2;
    const Handle space(H5Screate_simple(1, &rank, nullptr));
    const Handle attribute(
        H5Acreate2(object->id(), "shape", Type(), space.id(), H5P_DEFAULT, H5P_DEFAULT));
    if (attribute.valid()) H5Awrite(attribute.id(), H5T_NATIVE_DOUBLE, shape);
  }

  // data, indices and indptr that mostly fit.
  void Compressed(const std::string& path, int64_t major, int64_t minor) {
    std::vector<double> data;
    std::vector<double> indices;
    std::vector<double> indptr = {0};
    for (int64_t i = 0; i < major; ++i) {
      for (int64_t j = 0; j < minor; ++j) {
        const double value = bytes_.Number();
        if (value == 0) continue;
        data.push_back(value);
        indices.push_back(bytes_.Rarely() ? bytes_.Number() : static_cast<double>(j));
      }
      indptr.push_back(bytes_.Rarely() ? bytes_.Number() : static_cast<double>(data.size()));
    }
    const auto dims = [&](const std::vector<double>& values) {
      return std::vector<hsize_t>{
          static_cast<hsize_t>(Length(static_cast<int64_t>(values.size())))};
    };
    Numbers(path + "/data", dims(data), data);
    Numbers(path + "/indices", dims(indices), indices);
    Numbers(path + "/indptr", dims(indptr), indptr);
  }

  void Matrix(const std::string& path, int64_t rows, int64_t columns) {
    const int layout = bytes_.Below(4);
    if (layout == 0) {
      Numbers(path, {static_cast<hsize_t>(Length(rows)), static_cast<hsize_t>(Length(columns))},
              Values(rows * columns));
      return;
    }
    if (layout == 3 && bytes_.Rarely()) return;
    Group(path);
    Attribute(path, "encoding-type", layout == 2 ? "csc_matrix" : "csr_matrix");
    Shape(path, rows, columns);
    Compressed(path, layout == 2 ? columns : rows, layout == 2 ? rows : columns);
  }

  void Categorical(const std::string& path) {
    Group(path);
    Attribute(path, "encoding-type", "categorical");
    List(path + "/codes", Length(cells_));
    Texts(path + "/categories", "k", 8);
  }

  void Frame(const std::string& path, const char* prefix, int64_t rows,
             const std::vector<std::string>& columns) {
    if (bytes_.Rarely()) return;
    Group(path);
    Attribute(path, "encoding-type", "dataframe");
    Attribute(path, "encoding-version", bytes_.Below(2) == 0 ? "0.2.0" : "0.1.0");
    Attribute(path, "_index", "_index");
    if (!bytes_.Rarely()) Attribute(path, "column-order", columns);
    Texts(path + "/_index", prefix, rows);
    for (const std::string& column : columns) {
      const std::string at = absl::StrCat(path, "/", column);
      const int kind = bytes_.Below(4);
      if (kind == 0) List(at, Length(rows));
      if (kind == 1) Texts(at, "t", rows);
      if (kind == 2) Categorical(at);
      if (kind == 3) {
        Group(at);
        Attribute(at, "encoding-type", "nullable-integer");
        List(at + "/values", Length(rows));
        List(at + "/mask", Length(rows));
      }
    }
  }

  void MakeH5ad() {
    Frame("obs", "c", cells_, {"batch", "n"});
    Frame("var", "g", genes_, {});
    Matrix("X", cells_, genes_);
    if (bytes_.Below(2) == 1) {
      Group("layers");
      Matrix("layers/counts", cells_, genes_);
    }
    if (bytes_.Below(2) == 1) {
      Group("raw");
      Frame("raw/var", "g", genes_, {});
      Matrix("raw/X", cells_, genes_);
    }
    Group("obsm");
    Group("uns");
    if (bytes_.Below(2) == 1) {
      Frame("obsm/adt", "c", cells_, {"p0", "p1"});
    } else {
      Matrix("obsm/adt", cells_, 2);
      Texts("uns/adt_names", "p", 2);
    }
  }

  void MakeTenx3() {
    Group("matrix");
    Group("matrix/features");
    Texts("matrix/features/id", "e", genes_);
    Texts("matrix/features/name", "g", genes_);
    std::vector<std::string> types;
    for (int64_t i = 0; i < Length(genes_); ++i) {
      types.emplace_back(bytes_.Below(3) == 2 ? "Antibody Capture" : "Gene Expression");
    }
    hdf5::WriteStrings(file_, "matrix/features/feature_type", types).status().IgnoreError();
    if (bytes_.Below(2) == 1) Texts("matrix/features/genome", "g", genes_);
    Texts("matrix/barcodes", "c", cells_);
    Compressed("matrix", cells_, genes_);
  }

  void MakeTenx2(const std::string& genome) {
    Group(genome);
    Texts(genome + "/genes", "e", genes_);
    Texts(genome + "/gene_names", "g", genes_);
    Texts(genome + "/barcodes", "c", cells_);
    Compressed(genome, cells_, genes_);
    if (genome == "mm10" && bytes_.Rarely()) MakeTenx2("hg19");
  }

  ByteSource& bytes_;
  Handle file_;
  int64_t cells_ = 0;
  int64_t genes_ = 0;
};

}  // namespace
}  // namespace portolan::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  const std::string path = fuzz::ScratchFolder::OfProcess() / "query.h5";
  std::filesystem::remove(path);
  fuzz::ByteSource bytes(data, size);
  {
    const hdf5::Gate gate;
    fuzz::Hdf5Maker maker(bytes, path);
    maker.Make();
    maker.Close();
  }
  fuzz::CheckReader(OpenQuery(path, {.reference_genes = fuzz::ReferenceGenes()}));
  return 0;
}
