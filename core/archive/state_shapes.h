#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/archive/model_description.h"

namespace portolan {

using StateDict = std::map<std::string, HostTensor>;

/// What a state dict alone tells about a model.
struct StateShapes {
  int64_t n_genes = 0;
  int64_t n_hidden = 0;
  int64_t n_latent = 0;
  int64_t n_layers = 0;
  int64_t encoder_inputs = 0;  ///< columns of the encoder's first layer
  int64_t encoder_later = 0;   ///< columns of its second layer; 0 without one
  int64_t decoder_inputs = 0;  ///< columns of the decoder's first layer
  int64_t decoder_layers = 0;
  int64_t decoder_later = 0;
  NormReach batch_norm;
  std::vector<int64_t> px_r;    ///< empty: absent
  bool latent_library = false;  ///< library_log_means exists
  int64_t batch_embedding = 0;  ///< dimensions; 0: none
  int64_t embedded_batches = 0;
  // SCANVI
  int64_t n_labels = 0;
  bool linear_classifier = false;
  int64_t classifier_layers = 0;
  int64_t classifier_hidden = 0;
  // TOTALVI
  int64_t n_proteins = 0;
  int64_t background_columns = 0;  ///< of background_pro_alpha
  std::vector<int64_t> py_r;       ///< empty: absent
  bool efficiency = false;         ///< log_per_batch_efficiency exists
};

/// The class whose tensors these are; kUnimplemented if none that is known.
absl::StatusOr<ModelClass> InferModelClass(const StateDict& tensors);

/// ArchiveError naming the tensor if one that must exist is missing or has another rank.
absl::StatusOr<StateShapes> InferShapes(ModelClass model_class, const StateDict& tensors);

/// Checks that every tensor that the forward pass of `description` reads exists, is floating, and
/// has the shape that the description calls for, and that there are no others.
absl::Status CheckState(const ModelDescription& description, const StateShapes& shapes,
                        const StateDict& tensors);

}  // namespace portolan
