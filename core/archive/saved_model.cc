#include "core/archive/saved_model.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/describe_model.h"
#include "core/archive/model_files.h"
#include "core/archive/py_text.h"
#include "core/archive/torch_file.h"
#include "core/archive/unpickler.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr size_t kMostNames = 10'000'000;

absl::StatusOr<StateDict> ReadState(TorchFile& file, const PyValue& state) {
  if (!state.is(PyKind::kDict)) {
    return ArchiveError("no model_state_dict at its root, so not a model of scvi-tools",
                        "Name the model.pt that scvi-tools saved");
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

/// An error of the three-file format, which says in which file it is.
absl::Status InFile(std::string_view file, const absl::Status& status) {
  const auto violation = GetFieldViolation(status);
  if (!violation.has_value()) return status;
  return FieldError(status.code(), violation->field,
                    absl::StrCat(Absl(file), ": ", violation->found), violation->remedy);
}

/// var_names.csv: one name per line, no header, nothing quoted.
absl::StatusOr<std::vector<std::string>> ReadNames(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    if (!IsUtf8(line)) return ArchiveError(absl::StrCat("var_names.csv holds ", Quoted(line)));
    if (names.size() == kMostNames) return ArchiveError("var_names.csv has too many lines");
    names.emplace_back(line);
  }
  if (names.empty()) return ArchiveError("var_names.csv is empty", "Copy the whole saved model");
  return names;
}

}  // namespace

absl::StatusOr<SavedModel> ReadSavedModel(const std::string& directory,
                                          std::optional<ModelClass> expected,
                                          const ArchiveLimits& limits) {
  PORTOLAN_ASSIGN_OR_RETURN(const ModelFiles files, FindModelFiles(directory));
  PORTOLAN_ASSIGN_OR_RETURN(SharedBytes model, ReadFileBytes(files.model, limits.max_file_bytes));
  if (!files.three_files()) return ParseSavedModel(std::move(model), expected, limits);
  PORTOLAN_ASSIGN_OR_RETURN(SharedBytes attributes,
                            ReadFileBytes(files.attributes, limits.max_pickle_bytes));
  PORTOLAN_ASSIGN_OR_RETURN(SharedBytes names,
                            ReadFileBytes(files.var_names, limits.max_pickle_bytes));
  return ParseLegacyModel(std::move(model), std::move(attributes), std::move(names), expected,
                          limits);
}

absl::StatusOr<SavedModel> ParseSavedModel(SharedBytes bytes, std::optional<ModelClass> expected,
                                           const ArchiveLimits& limits) {
  PORTOLAN_ASSIGN_OR_RETURN(TorchFile file, TorchFile::Parse(std::move(bytes), limits));
  const ModelParts parts{file.root().Get("attr_dict"), file.root().Get("var_names"), {}};
  // Before the tensors: a class that is not served may hold some that cannot be read.
  PORTOLAN_RETURN_IF_ERROR(RegisteredClass(parts.attributes).status());
  SavedModel model;
  PORTOLAN_ASSIGN_OR_RETURN(model.tensors, ReadState(file, file.root().Get("model_state_dict")));
  TextBudget budget{limits.max_pickle_bytes};
  PORTOLAN_ASSIGN_OR_RETURN(model.description,
                            DescribeModel(parts, model.tensors, expected, budget));
  model.digest = Sha256Hex(file.bytes().text());
  return model;
}

absl::StatusOr<SavedModel> ParseLegacyModel(SharedBytes parameters, SharedBytes attributes,
                                            SharedBytes var_names,
                                            std::optional<ModelClass> expected,
                                            const ArchiveLimits& limits) {
  PORTOLAN_ASSIGN_OR_RETURN(TorchFile file, TorchFile::Parse(std::move(parameters), limits));
  auto document = Unpickle(attributes, 0, limits);
  if (!document.ok()) return InFile("attr.pkl", document.status());
  ModelParts parts{document->root, {}, {}};
  PORTOLAN_ASSIGN_OR_RETURN(parts.listed_names, ReadNames(var_names.text()));
  SavedModel model;
  PORTOLAN_ASSIGN_OR_RETURN(model.tensors, ReadState(file, file.root()));
  TextBudget budget{limits.max_pickle_bytes};
  auto description = DescribeModel(parts, model.tensors, expected, budget);
  if (!description.ok()) return InFile("attr.pkl", description.status());
  model.description = *std::move(description);
  model.digest = Sha256Hex(absl::StrCat(Sha256Hex(file.bytes().text()),
                                        Sha256Hex(attributes.text()), Sha256Hex(var_names.text())));
  return model;
}

}  // namespace portolan
