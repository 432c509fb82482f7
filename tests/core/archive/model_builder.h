#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/core/archive/pickle_builder.h"

namespace portolan {

/// A small model.pt with everything scvi-tools writes that matters. Tests change members before
/// File(): `tensors` by key, `init`, `module_arguments`, `registry` and `fields` by pickled value.
/// An empty pickled value leaves the entry out.
class ModelBuilder {
 public:
  enum Class { kScvi, kScanvi, kTotalvi };
  static constexpr int64_t kGenes = 5, kHidden = 4, kLatent = 3, kProteins = 2;

  using Shape = std::vector<int64_t>;
  std::map<std::string, Shape> tensors;
  std::map<std::string, std::string> init, module_arguments, registry, fields;
  std::string var_names;
  std::map<std::string, std::string> root;
  bool flat_init = false;
  bool deflate = false;

  /// `batches` one-hot columns beside those of `more_columns`.
  explicit ModelBuilder(Class model_class = kScvi, int64_t batches = 2, int64_t layers = 2,
                        bool encode = false, int64_t more_columns = 0);

  static std::string Name(Class model_class) {
    return model_class == kScvi ? "SCVI" : model_class == kScanvi ? "SCANVI" : "TOTALVI";
  }

  /// Fields of the registry, pickled.
  static std::string Field(const pickle::Pairs& data, const pickle::Pairs& state);
  static std::string Categories(const std::string& mapping, const std::string& original_key);

  /// Tensors of an FC stack with batch norm, and of a Linear.
  void AddStack(const std::string& prefix, int64_t in, int64_t out, int64_t layers, int64_t columns,
                bool inject = true);
  void AddLinear(const std::string& prefix, int64_t out, int64_t in);

  std::string Pickle() const;
  /// The bytes of model.pt. The values of a tensor are 0, 1/8, 2/8, ...
  std::string File() const;
  /// The bytes of model_params.pt of the three-file format, whose root is the state dict.
  std::string Parameters() const;

 private:
  std::string State(bool pyro) const;
  std::string Zip(const std::string& pickle) const;
  void Scvi(int64_t columns, int64_t layers, bool encode);
  void Scanvi(int64_t layers);
  void Totalvi(int64_t columns, int64_t batches);

  bool batch_norm_ = true;
};

/// A fresh directory under testing::TempDir(), removed with its content.
class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "/portolan_archive_XXXXXX";
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TempDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }
  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }

 private:
  std::string path_;
};

}  // namespace portolan
