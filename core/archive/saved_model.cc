#include "core/archive/saved_model.h"

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/describe_model.h"
#include "core/archive/torch_file.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Why a directory without model.pt cannot be read.
absl::Status NoModelFile(const std::filesystem::path& directory) {
  if (Exists(directory / "model_params.pt") || Exists(directory / "attr.pkl")) {
    return FieldError(absl::StatusCode::kUnimplemented, "model.pt",
                      "a model in the three-file format of scvi-tools before 0.15 "
                      "(model_params.pt, attr.pkl, var_names.csv)",
                      "Convert it with convert_legacy_save of scvi-tools");
  }
  return FieldError(absl::StatusCode::kNotFound, "model.pt",
                    absl::StrCat("no such file in '", directory.string(), "'"),
                    "Name a directory that holds a saved model");
}

absl::StatusOr<StateDict> ReadState(TorchFile& file) {
  const PyValue state = file.root().Get("model_state_dict");
  if (!state.is(PyKind::kDict)) {
    return ArchiveError("no model_state_dict at its root, so not a model of scvi-tools",
                        "Name the model.pt that scvi-tools 0.15 or newer saved");
  }
  StateDict tensors;
  for (size_t i = 0; i < state.size(); ++i) {
    const auto name = state.Key(i).Str();
    // From 1.3.0 there is also pyro_param_store, a dict.
    if (!name.has_value() || !state.Value(i).is(PyKind::kTensor)) continue;
    const std::string key(*name);
    PORTOLAN_ASSIGN_OR_RETURN(HostTensor tensor, file.ReadModelTensor(state.Value(i), key));
    tensors[key] = std::move(tensor);
  }
  return tensors;
}

}  // namespace

absl::StatusOr<SavedModel> ReadSavedModel(const std::string& directory,
                                          std::optional<ModelClass> expected,
                                          const ArchiveLimits& limits) {
  const std::filesystem::path path = std::filesystem::path(directory) / "model.pt";
  if (!Exists(path)) return NoModelFile(directory);
  PORTOLAN_ASSIGN_OR_RETURN(SharedBytes file, ReadFileBytes(path.string(), limits.max_file_bytes));
  return ParseSavedModel(std::move(file), expected, limits);
}

absl::StatusOr<SavedModel> ParseSavedModel(SharedBytes bytes, std::optional<ModelClass> expected,
                                           const ArchiveLimits& limits) {
  PORTOLAN_ASSIGN_OR_RETURN(TorchFile file, TorchFile::Parse(std::move(bytes), limits));
  // Before the tensors: a class that is not served may hold some that cannot be read.
  PORTOLAN_RETURN_IF_ERROR(RegisteredClass(file.root()).status());
  SavedModel model;
  PORTOLAN_ASSIGN_OR_RETURN(model.tensors, ReadState(file));
  TextBudget budget{limits.max_pickle_bytes};
  PORTOLAN_ASSIGN_OR_RETURN(model.description,
                            DescribeModel(file.root(), model.tensors, expected, budget));
  model.digest = Sha256Hex(file.bytes().text());
  return model;
}

}  // namespace portolan
