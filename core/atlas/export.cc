#include "core/atlas/export.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/archive/model_writer.h"
#include "core/archive/saved_model.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/whole_state.h"

namespace portolan {
namespace {

std::vector<std::string> NotesFor(const ModelDescription& description, const std::string& written) {
  std::vector<std::string> notes;
  const auto& proteins = description.architecture.proteins;
  if (proteins.has_value() && proteins->variant != TotalviVariant::kCellMean) {
    notes.push_back(
        absl::StrCat("Open it with scvi-tools ", written,
                     ": from 1.3.1 on TOTALVI computes another forward pass, which gives other "
                     "latents and does not open this model."));
  }
  return notes;
}

}  // namespace

absl::StatusOr<ExportedModel> ExportVersion(const Atlas& atlas, const AtlasVersion& version) {
  PORTOLAN_ASSIGN_OR_RETURN(const SavedModel saved, ReadSavedModel(atlas.model_directory()));
  if (!absl::StartsWith(saved.digest, atlas.reference()->id)) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "name",
                      absl::StrCat("the saved model of atlas '", atlas.name(),
                                   "' has been replaced since it was opened"),
                      "Put the model back, or restart the server to host the new one");
  }
  const ModelDescription& description = version.model->description();
  PORTOLAN_ASSIGN_OR_RETURN(const auto tensors, WholeStateDict(*version.model, saved));
  ExportedModel exported;
  PORTOLAN_ASSIGN_OR_RETURN(exported.file, WriteModel(description, tensors));
  exported.scvi_version = WrittenVersion(description);
  exported.notes = NotesFor(description, exported.scvi_version);
  return exported;
}

}  // namespace portolan
