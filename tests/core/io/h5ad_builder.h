#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

namespace portolan::testing_io {

/// A path under the test's temporary folder that no other test uses.
std::string TempPath(const std::string& name);

/// Where the committed fixtures and the shared test data stand; the latter is empty where absent.
std::string FixturePath(const std::string& name);
std::string SharedDataPath(const std::string& name);

std::string ReadBytes(const std::string& path);
void WriteBytes(const std::string& path, const std::string& bytes);

/// Writes h5ad files that anndata would not: odd types, broken parts. Aborts on its own failures.
class H5adBuilder {
 public:
  /// Starts a file with obs and var of these lengths ("cell0", ..., "gene0", ...).
  H5adBuilder(const std::string& path, int64_t cells, int64_t genes);

  /// A dataset of `type` from these values; `chunk` empty for contiguous; `deflate` or shuffle on.
  void Dataset(const std::string& path, const std::vector<int64_t>& shape, hid_t type,
               const std::vector<double>& values, const std::vector<int64_t>& chunk = {},
               bool compress = false);
  void Group(const std::string& path);
  void Attribute(const std::string& path, const char* name, const std::string& value);
  void Shape(const std::string& path, const std::vector<int64_t>& shape);
  void Remove(const std::string& path);
  const hdf5::Handle& file() const { return file_; }

  /// X as CSR from a dense matrix; the types of its three parts.
  void Csr(const std::string& path, int64_t rows, int64_t columns, const std::vector<double>& dense,
           hid_t value_type = H5T_IEEE_F32LE, hid_t index_type = H5T_STD_I32LE);

  /// Writes everything out.
  void Close();

 private:
  hdf5::Handle file_;
};

/// The whole matrix, dense, as read back with the file's own genes, each once, as the reference.
struct Readback {
  absl::Status status;
  std::vector<std::string> genes;
  std::vector<std::vector<float>> rows;
  std::vector<int64_t> block_rows;
};
Readback ReadAll(const std::string& path, const std::string& source = "X", int64_t max_rows = 1000,
                 const std::vector<std::string>& reference_genes = {});

/// Protein counts as read back, cut to `panel`.
struct ProteinReadback {
  absl::Status status;
  std::vector<std::string> names;
  std::vector<float> values;
  std::vector<int64_t> block_starts;
};
ProteinReadback ReadProteins(const std::string& path, const ProteinSource& source,
                             const std::vector<std::string>& panel, int64_t max_rows = 3);

}  // namespace portolan::testing_io
