#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/saved_model.h"
#include "core/base/cancellation.h"
#include "core/matrix/cell_inputs.h"
#include "core/model/extension.h"

namespace portolan {

struct ModelNetworks;   // core/model/networks.h, which includes torch headers
struct PackedNetworks;  // core/kernels/packed_networks.h

/// A hosted model: description and frozen weights. Immutable and shared by all threads.
class Model {
 public:
  /// Builds the networks of a saved SCVI or SCANVI model. kUnimplemented for what is read but not
  /// served yet (TOTALVI), InvalidField for tensors that do not fit.
  static absl::StatusOr<std::shared_ptr<const Model>> Create(const SavedModel& saved);

  /// This model plus an extension. Weights are shared with this one.
  absl::StatusOr<std::shared_ptr<const Model>> Extend(const Extension& extension) const;

  /// The adapter of `count` batches from code `first` on, as an extension holds it.
  absl::StatusOr<Extension> BatchColumns(int64_t first, int64_t count) const;

  /// Batches include those of extensions.
  const ModelDescription& description() const { return description_; }
  const ModelNetworks& networks() const { return *networks_; }
  /// The frozen networks for core/kernels; null where those do not know the model.
  const PackedNetworks* packed() const { return packed_.get(); }

  /// Code of a batch name, or -1.
  int32_t BatchCode(const std::string& name) const;
  /// False for a model set up without a batch key: all its cells are one batch, nothing extends.
  bool has_batch_key() const { return !description_.batches.original_key.empty(); }

 private:
  Model(ModelDescription description, std::shared_ptr<const ModelNetworks> networks,
        std::shared_ptr<const PackedNetworks> packed)
      : description_(std::move(description)),
        networks_(std::move(networks)),
        packed_(std::move(packed)) {}

  ModelDescription description_;
  std::shared_ptr<const ModelNetworks> networks_;
  std::shared_ptr<const PackedNetworks> packed_;
};

/// Latents of cells, row-major.
struct Embedding {
  int64_t cells = 0;
  int64_t n_latent = 0;
  int64_t n_labels = 0;         ///< 0 unless SCANVI
  std::vector<float> mean;      ///< cells x n_latent: what get_latent_representation() gives
  std::vector<float> variance;  ///< cells x n_latent; of the normal, before any softmax
  /// Logistic-normal latents alone: cells x n_latent, the mean before the softmax.
  std::vector<float> location;
  std::vector<float> probabilities;  ///< cells x n_labels: predict(soft=True)
};

/// Eval mode. InvalidField for annotations that are not what the model reads. Row i depends on cell
/// i alone, bit for bit. Errors: kCancelled, kInternal for a failure inside torch.
absl::StatusOr<Embedding> Encode(const Model& model, const CellInputs& cells,
                                 const CancelToken& cancel);

}  // namespace portolan
