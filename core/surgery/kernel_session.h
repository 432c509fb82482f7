#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/surgery/kernel_loss.h"
#include "core/surgery/training_session.h"

namespace portolan {

/// Whether KernelLoss knows the model's loss: a model that core/kernels know, without batch norm
/// and with an observed library. Labelled cells and an adversary are beyond it.
bool LossByKernels(const Model& model);

/// Whether KernelSession can train this: a model of LossByKernels; flags under which nothing but
/// batch columns is trained and no dropout is active; no weight decay; at most one label among the
/// cells. Whatever it does not know it refuses.
bool TrainsByKernels(const Model& model, const TrainingCells& cells, const FreezeFlags& freeze,
                     const AdamOptions& adam);

/// A session by core/kernels: no graph, no dense counts, input gradients only. Agrees with
/// AutogradSession within rounding; reads and writes the same checkpoints.
class KernelSession final : public TrainingSession {
 public:
  /// As TrainingSession::Create. REQUIRES: TrainsByKernels.
  static absl::StatusOr<std::unique_ptr<TrainingSession>> Create(
      const Model& model, const TrainingCells& cells,
      const std::map<std::string, HostTensor>& columns, const AdamOptions& adam, NoiseSource& noise,
      Precision precision = Precision::kFloat32);

  void ShareWork(WorkSharing& sharing) override;
  absl::StatusOr<StepResult> Step(std::span<const int64_t> rows, double kl_weight,
                                  double learning_rate) override;
  /// kUnimplemented with labelled rows.
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
  /// The columns of one layer under Adam; (new batches, width) each.
  struct Slot {
    std::string key;
    int64_t width = 0;
    int64_t offset = 0;  // in a cell's gradient
    std::vector<float> values;
    std::vector<float> gradient;
    std::vector<float> mean;
    std::vector<float> square;
    int64_t steps = 0;
  };

  KernelSession(const TrainingCells& cells, const AdamOptions& adam) : cells_(cells), adam_(adam) {}

  absl::Status TakeColumns(const PackedNetworks& networks,
                           const std::map<std::string, HostTensor>& start);
  std::vector<const float*> Columns() const;
  /// Calls work(slot, begin, end) for ranges of a slot's columns that together are all,
  /// perhaps on several threads.
  template <typename Work>
  void ForColumns(const Work& work);
  void SumGradients(std::span<const int64_t> rows);
  void AddSquares(std::vector<double>& squares);
  void AdamStep(double learning_rate);

  const TrainingCells& cells_;
  AdamOptions adam_;
  std::vector<Slot> slots_;                   // TrainedTables
  std::map<std::string, HostTensor> frozen_;  // FrozenTables
  int64_t gradient_width_ = 0;                // of all slots
  std::unique_ptr<KernelLoss> loss_;
  WorkSharing alone_{nullptr};
  WorkSharing* sharing_ = &alone_;
  CellLosses losses_;
};

}  // namespace portolan
