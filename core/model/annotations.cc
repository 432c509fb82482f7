#include "core/model/annotations.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/forward.h"

namespace portolan {
namespace {

absl::Status Missing(const std::string& field, const std::string& column, int64_t found,
                     int64_t wanted) {
  return InvalidField(
      field, absl::StrCat(found, " values of '", column, "', not ", wanted),
      absl::StrCat("The reference was set up with '", column, "': give every cell a value of it"));
}

absl::Status CheckCategorical(const ModelDescription& model, const CellAnnotations& annotations,
                              int64_t cells) {
  const auto n = static_cast<int64_t>(model.covariate_categories.size());
  const auto found = static_cast<int64_t>(annotations.categorical.size());
  if (annotations.n_categorical != n || found != n * cells) {
    return Missing("covariate", absl::StrJoin(model.categorical_covariates, "', '"), found,
                   n * cells);
  }
  for (int64_t i = 0; i < found; ++i) {
    const auto& known = model.covariate_categories[i % n];
    const int32_t code = annotations.categorical[i];
    if (code >= 0 && code < static_cast<int32_t>(known.size())) continue;
    return InvalidField("covariate",
                        absl::StrCat("code ", code, " of '", model.categorical_covariates[i % n],
                                     "' in row ", i / n),
                        absl::StrCat("Use one of the reference's ", known.size(),
                                     " categories: ", absl::StrJoin(known, ", ")));
  }
  return absl::OkStatus();
}

absl::Status CheckContinuous(const ModelDescription& model, const CellAnnotations& annotations,
                             int64_t cells) {
  const auto n = static_cast<int64_t>(model.continuous_covariates.size());
  const auto found = static_cast<int64_t>(annotations.continuous.size());
  if (annotations.n_continuous != n || found != n * cells) {
    return Missing("covariate", absl::StrJoin(model.continuous_covariates, "', '"), found,
                   n * cells);
  }
  for (int64_t i = 0; i < found; ++i) {
    if (std::isfinite(annotations.continuous[i])) continue;
    return InvalidField("covariate",
                        absl::StrCat(annotations.continuous[i], " as '",
                                     model.continuous_covariates[i % n], "' in row ", i / n),
                        "Give every cell a finite number");
  }
  return absl::OkStatus();
}

absl::Status CheckSizeFactors(const ModelDescription& model, const CellAnnotations& annotations,
                              int64_t cells) {
  const auto found = static_cast<int64_t>(annotations.size_factors.size());
  if (found != cells) return Missing("size_factor_key", model.size_factor_key, found, cells);
  for (int64_t i = 0; i < cells; ++i) {
    const float value = annotations.size_factors[i];
    if (std::isfinite(value) && value > 0) continue;
    return InvalidField("size_factor_key", absl::StrCat("size factor ", value, " in row ", i),
                        "Give every cell a size factor above 0");
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const ModelDescription& model, const CellAnnotations& annotations,
                         int64_t cells) {
  const bool per_label = model.architecture.dispersion == Dispersion::kGeneLabel;
  const auto found = static_cast<int64_t>(annotations.labels.size());
  if (found == 0 && !per_label) return absl::OkStatus();
  if (found != cells) return Missing("labels_key", model.labels.original_key, found, cells);
  for (int64_t i = 0; i < cells; ++i) {
    const int32_t code = annotations.labels[i];
    if (code >= (per_label ? 0 : -1) && code < model.architecture.n_labels) continue;
    return InvalidField("labels_key", absl::StrCat("label code ", code, " in row ", i),
                        absl::StrCat("Use one of the reference's labels: ",
                                     absl::StrJoin(model.labels.categories, ", ")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAnnotations(const ModelDescription& model, const CellAnnotations& annotations,
                              int64_t cells, AnnotationUse use) {
  if (use == AnnotationUse::kLoss || model.architecture.encode_covariates) {
    PORTOLAN_RETURN_IF_ERROR(CheckCategorical(model, annotations, cells));
    PORTOLAN_RETURN_IF_ERROR(CheckContinuous(model, annotations, cells));
  }
  if (use == AnnotationUse::kEncoding) return absl::OkStatus();
  if (model.architecture.has_size_factor) {
    PORTOLAN_RETURN_IF_ERROR(CheckSizeFactors(model, annotations, cells));
  }
  return CheckLabels(model, annotations, cells);
}

void TakeAnnotations(const CellAnnotations& annotations, std::span<const int64_t> rows,
                     int64_t size, Minibatch& minibatch) {
  const auto copy = [&](const auto& from, int64_t width, at::ScalarType type, auto* typed) {
    using T = std::remove_pointer_t<decltype(typed)>;
    at::Tensor out = at::zeros({size, width}, type);
    T* to = out.data_ptr<T>();
    for (const int64_t row : rows) {
      for (int64_t i = 0; i < width; ++i) *to++ = static_cast<T>(from[row * width + i]);
    }
    return out;
  };
  constexpr int64_t* kCodes = nullptr;
  constexpr float* kNumbers = nullptr;
  if (!annotations.categorical.empty()) {
    minibatch.categorical =
        copy(annotations.categorical, annotations.n_categorical, at::kLong, kCodes);
  }
  if (!annotations.continuous.empty()) {
    minibatch.continuous =
        copy(annotations.continuous, annotations.n_continuous, at::kFloat, kNumbers);
  }
  if (!annotations.size_factors.empty()) {
    minibatch.size_factors = copy(annotations.size_factors, 1, at::kFloat, kNumbers);
  }
  if (!annotations.labels.empty()) {
    minibatch.labels = copy(annotations.labels, 1, at::kLong, kCodes).squeeze(1);
  }
}

}  // namespace portolan
