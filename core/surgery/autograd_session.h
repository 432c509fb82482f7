#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/networks.h"
#include "core/surgery/adam.h"
#include "core/surgery/adversary.h"
#include "core/surgery/minibatches.h"
#include "core/surgery/training_session.h"

namespace portolan {

/// A session by LibTorch's automatic differentiation: for every model and every freeze flag. The
/// first encoder layer of every cell is computed once and kept, as long as it is frozen. Every call
/// passes the torch fence.
class AutogradSession final : public TrainingSession {
 public:
  /// As TrainingSession::Create.
  static absl::StatusOr<std::unique_ptr<TrainingSession>> Create(
      const Model& model, const TrainingCells& cells,
      const std::map<std::string, HostTensor>& columns, const FreezeFlags& freeze,
      const AdamOptions& adam, NoiseSource& noise,
      const std::optional<AdversaryOptions>& adversary);

  absl::StatusOr<StepResult> Step(std::span<const int64_t> rows, double kl_weight,
                                  double learning_rate) override;
  absl::StatusOr<StepResult> StepLabelled(std::span<const int64_t> rows,
                                          std::span<const int64_t> labelled,
                                          double classification_ratio, double kl_weight,
                                          double learning_rate) override;
  absl::StatusOr<std::vector<double>> NegativeElbo(std::span<const int64_t> rows) override;
  absl::StatusOr<std::vector<float>> Parameters() const override;
  absl::Status SetParameters(std::span<const float> values) override;
  absl::Status AddLossAndGradient(std::span<const int64_t> rows, double kl_weight,
                                  LossSum& sum) override;
  absl::StatusOr<Extension> Extract() const override;
  absl::StatusOr<TensorBundle> Save() const override;
  absl::Status Load(const TensorBundle& bundle) override;

 private:
  AutogradSession(const Model& model, const TrainingCells& cells, const AdamOptions& adam,
                  NoiseSource& noise);

  absl::Status TakeColumns(const std::map<std::string, HostTensor>& start);
  void TakeTrained(const FreezeFlags& freeze, bool decays);
  void TakeStatistics(const FreezeFlags& freeze);
  void TakeAdversary(const AdversaryOptions& options, double weight_decay);

  ModelNetworks networks_;  // batch columns are those of the new batches alone
  const TrainingCells& cells_;
  NoiseSource& noise_;
  Adam optimizer_;
  std::map<std::string, at::Tensor> columns_;         // by key, (new batches, width)
  std::map<std::string, at::Tensor> parent_columns_;  // by key, (parent's batches, width)
  std::map<std::string, at::Tensor> owned_;           // changed, by key (or BatchColumnsKey)
  std::vector<std::string> reasons_;                  // why anything is owned
  std::map<std::string, at::Tensor> statistics_;      // by key, moved by forward passes
  std::optional<Minibatches> minibatches_;
  std::optional<Adversary> adversary_;
  AdversaryOptions adversary_options_;
};

}  // namespace portolan
