#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/archive/model_description.h"
#include "core/archive/shared_bytes.h"

namespace portolan {

/// A model as scvi-tools saved it: tensors by state-dict key, and the typed description. Floating
/// tensors are converted to float32, integer ones to int64.
struct SavedModel {
  ModelDescription description;
  std::map<std::string, HostTensor> tensors;
  std::string digest;  ///< SHA-256 of the model's file or files, hexadecimal
};

/// Bounds within which a file is believed; beyond them reading ends with an error.
struct ArchiveLimits {
  int64_t max_file_bytes = int64_t{8} << 30;
  int64_t max_pickle_bytes = int64_t{256} << 20;
  int64_t max_objects = 20'000'000;  ///< values the pickle machine may create
  int max_depth = 200;               ///< nesting of containers
};

/// Reads the saved model that FindModelFiles finds in `directory`: model.pt, or the three files of
/// scvi-tools before 0.15. Nothing in them is executed. Errors are InvalidField("model.pt", ...)
/// and name the byte offset where one is known; a class that Portolan does not serve (PEAKVI,
/// MULTIVI,
/// ...) is kUnimplemented and named; `expected` set and another class found is
/// InvalidField("model", ...); a directory without a model is kNotFound.
absl::StatusOr<SavedModel> ReadSavedModel(const std::string& directory,
                                          std::optional<ModelClass> expected = std::nullopt,
                                          const ArchiveLimits& limits = {});

/// The same for the content of a model.pt.
absl::StatusOr<SavedModel> ParseSavedModel(SharedBytes file,
                                           std::optional<ModelClass> expected = std::nullopt,
                                           const ArchiveLimits& limits = {});

/// The same for the contents of model_params.pt, attr.pkl and var_names.csv.
absl::StatusOr<SavedModel> ParseLegacyModel(SharedBytes parameters, SharedBytes attributes,
                                            SharedBytes var_names,
                                            std::optional<ModelClass> expected = std::nullopt,
                                            const ArchiveLimits& limits = {});

}  // namespace portolan
