#include "tests/fuzz/model_check.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/archive/model_writer.h"
#include "core/base/field_error.h"

namespace portolan::fuzz {
namespace {

void Require(bool holds, const char* what, const absl::Status& status = absl::OkStatus()) {
  if (holds) return;
  std::fprintf(stderr, "%s: %s\n", what, std::string(status.message()).c_str());
  std::abort();
}

}  // namespace

ArchiveLimits SmallLimits() {
  return {.max_file_bytes = 4 << 20,
          .max_pickle_bytes = 1 << 20,
          .max_objects = 100'000,
          .max_depth = 50};
}

void CheckModel(const absl::StatusOr<SavedModel>& model) {
  if (!model.ok()) {
    Require(GetFieldViolation(model.status()).has_value(), "an error without a field",
            model.status());
    return;
  }
  const auto file = WriteModel(model->description, model->tensors);
  if (!file.ok()) {
    Require(file.status().code() == absl::StatusCode::kUnimplemented, "a model is not written",
            file.status());
    return;
  }
  const auto again = ParseSavedModel(SharedBytes::CopyOf(*file));
  Require(again.ok(), "what was written is not read", again.status());
  Require(again->description.genes == model->description.genes, "other genes");
  Require(again->description.batches.categories == model->description.batches.categories,
          "other batches");
  Require(again->tensors.size() == model->tensors.size(), "other tensors");
}

}  // namespace portolan::fuzz
