#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "core/archive/model_description.h"
#include "core/matrix/cell_inputs.h"

namespace portolan {

struct Minibatch;  // core/model/forward.h, which includes torch headers

/// What of the annotations is about to be read: an encoding needs no more than what the encoder
/// sees; a loss needs all that the model was set up with.
enum class AnnotationUse { kEncoding, kLoss };

/// Whether `annotations` of `cells` cells are what the model reads: one row per cell, codes within
/// the registries, finite covariates, positive size factors. Typed errors that name the covariate,
/// the value and the remedy.
absl::Status CheckAnnotations(const ModelDescription& model, const CellAnnotations& annotations,
                              int64_t cells, AnnotationUse use);

/// Puts the annotations of `rows` into a minibatch of `size` rows; those beyond are zero.
void TakeAnnotations(const CellAnnotations& annotations, std::span<const int64_t> rows,
                     int64_t size, Minibatch& minibatch);

}  // namespace portolan
