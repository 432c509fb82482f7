#include "core/surgery/training_session.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/kernels/batch_tables.h"
#include "core/kernels/bf16_matrix.h"
#include "core/model/annotations.h"
#include "core/model/first_layer.h"
#include "core/model/host_copy.h"
#include "core/model/networks.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/autograd_session.h"
#include "core/surgery/elbo.h"
#include "core/surgery/freeze_policy.h"
#include "core/surgery/kernel_session.h"
#include "core/surgery/minibatches.h"
#include "core/surgery/scvi_layout.h"

namespace portolan {
namespace {

bool ElboByKernels(const Model& model, const CellInputs& cells) {
  const auto& labels = cells.annotations.labels;
  return LossByKernels(model) &&
         std::all_of(labels.begin(), labels.end(), [](int32_t code) { return code < 0; });
}

absl::Status KernelElbo(const Model& model, const CellInputs& cells, std::span<const int64_t> rows,
                        NoiseSource& noise, const CancelToken& cancel, std::vector<double>& out) {
  constexpr size_t kBlock = 1024;
  const PackedNetworks& networks = *model.packed();
  std::map<std::string, HostTensor> columns;
  ModelNetworks all = model.networks();
  for (const TensorRef& ref : Tensors(all)) {
    if (ref.role == TensorRole::kBatchColumns) columns[ref.key] = ToHost(*ref.tensor);
  }
  const auto loss = KernelLoss::Create(networks, cells, columns, noise);
  std::vector<const float*> tables;
  for (const BatchTable& table : TrainedTables(networks)) {
    tables.push_back(columns.at(table.key).floats().data());
  }
  CellLosses losses;
  for (size_t at = 0; at < rows.size(); at += kBlock) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    loss->Run(rows.subspan(at, std::min(kBlock, rows.size() - at)), tables, RandomUse::kElboNoise,
              1.0f, Gradients::kNone, losses);
    for (size_t i = 0; i < losses.kl.size(); ++i) {
      out.push_back(losses.reconstruction[i] + losses.kl[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBf16(const Model& model, bool kernels) {
  if (!Bf16Matrix::Supported()) {
    return InvalidField("precision", "bf16",
                        "The server's processor has no AVX512-BF16; use float32");
  }
  if (!kernels || model.packed()->proteins.has_value()) {
    return InvalidField("precision", "bf16",
                        "Only SCVI and SCANVI can, with the default freeze flags; use float32");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingSession>> TrainingSession::Create(
    const Model& model, const TrainingCells& cells,
    const std::map<std::string, HostTensor>& columns, const FreezeFlags& freeze,
    const AdamOptions& adam, NoiseSource& noise, const std::optional<AdversaryOptions>& adversary,
    Precision precision) {
  PORTOLAN_RETURN_IF_ERROR(
      CheckBatchCodes(cells.batch_codes, static_cast<int64_t>(cells.batches.size())));
  PORTOLAN_RETURN_IF_ERROR(CheckProteins(model.networks(), cells.inputs()));
  const bool kernels = !adversary.has_value() && TrainsByKernels(model, cells, freeze, adam);
  if (precision == Precision::kBf16) PORTOLAN_RETURN_IF_ERROR(CheckBf16(model, kernels));
  if (kernels) {
    return KernelSession::Create(model, cells, columns, adam, noise, precision);
  }
  return AutogradSession::Create(model, cells, columns, freeze, adam, noise, adversary);
}

std::vector<std::string> FullDeltaReasons(const Model& model, const FreezeFlags& freeze,
                                          const AdamOptions& adam) {
  std::set<std::string> reasons;
  ModelNetworks networks = model.networks();
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.role == TensorRole::kNormStatistic || ref.role == TensorRole::kBatchColumns) continue;
    const ParameterPolicy policy = PolicyOf(ref.key, freeze);
    if (!policy.in_optimizer) continue;
    if (adam.weight_decay != 0) reasons.insert("weight decay reaches frozen weights");
    const bool columns = ref.role == TensorRole::kOtherColumns;
    if (columns && !policy.trained && OtherColumnsTrained(policy, freeze)) {
      reasons.insert("columns of the extra covariates trained, as scvi-tools does");
    }
    if (!policy.trained) continue;
    const absl::string_view root = absl::string_view(ref.key).substr(0, ref.key.find('.'));
    reasons.insert(absl::StrCat(ref.role == TensorRole::kNormAffine ? "batch norm" : "weights",
                                " of ", root, " trained"));
  }
  for (const FcStack* stack : Stacks(networks)) {
    if (BatchNormMomentum(stack->path, freeze) > 0 && !stack->layers.empty() &&
        stack->layers[0].batch_norm.has_value()) {
      reasons.insert(absl::StrCat("batch norm statistics of ", stack->path, " move"));
    }
  }
  if (freeze.scvi_columns && MovesColumns(model)) {
    reasons.insert("known columns moved to where scvi-tools leaves them");
  }
  return {reasons.begin(), reasons.end()};
}

absl::StatusOr<std::vector<double>> NegativeElbo(const Model& model, const CellInputs& cells,
                                                 NoiseSource& noise, const CancelToken& cancel) {
  PORTOLAN_RETURN_IF_ERROR(
      CheckBatchCodes(cells.batch_codes, model.networks().architecture.n_batch));
  PORTOLAN_RETURN_IF_ERROR(CheckProteins(model.networks(), cells));
  PORTOLAN_RETURN_IF_ERROR(CheckAnnotations(model.description(), cells.annotations,
                                            cells.counts.rows(), AnnotationUse::kLoss));
  std::vector<double> out;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    std::vector<int64_t> rows(cells.counts.rows());
    std::iota(rows.begin(), rows.end(), 0);
    if (ElboByKernels(model, cells)) return KernelElbo(model, cells, rows, noise, cancel, out);
    const Minibatches minibatches(model.networks(), cells, {});
    return AppendNegativeElbo(model.networks(), minibatches, rows, noise, cancel, out);
  }));
  return out;
}

}  // namespace portolan
