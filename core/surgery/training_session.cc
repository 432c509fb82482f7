#include "core/surgery/training_session.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/host_copy.h"
#include "core/model/networks.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/adam.h"
#include "core/surgery/freeze_policy.h"
#include "core/surgery/minibatches.h"

namespace portolan {
namespace {

constexpr int64_t kElboRows = 128;

bool IsBuffer(const std::string& key) {
  return key == "library_log_means" || key == "library_log_vars";
}

std::vector<float> ToVector(const at::Tensor& tensor) {
  const HostTensor host = ToHost(tensor);
  return {host.floats().begin(), host.floats().end()};
}

absl::Status CheckpointMismatch(const std::string& what) {
  return InvalidField("checkpoint", what, "It belongs to another run; start the mapping again");
}

absl::Status AppendNegativeElbo(const ModelNetworks& networks, const Minibatches& minibatches,
                                std::span<const int64_t> rows, NoiseSource& noise,
                                const CancelToken& cancel, std::vector<double>& out) {
  const c10::NoGradGuard no_grad;
  for (size_t begin = 0; begin < rows.size(); begin += kElboRows) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    const auto block = rows.subspan(begin, std::min<size_t>(kElboRows, rows.size() - begin));
    const LossTerms terms = ComputeLoss(networks, minibatches.Make(block), /*training=*/false,
                                        RandomUse::kElboNoise, noise);
    for (const float term : ToVector(terms.reconstruction + terms.kl + terms.kl_unweighted)) {
      out.push_back(term);
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct TrainingSession::State {
  State(const Model& model, const TrainingCells& training_cells, const AdamOptions& adam,
        NoiseSource& noise_source)
      : networks(model.networks()), cells(training_cells), noise(noise_source), optimizer(adam) {}

  absl::Status TakeColumns(const std::map<std::string, HostTensor>& start);
  void TakeTrained(const FreezeFlags& freeze, bool decays);
  void TakeStatistics(const FreezeFlags& freeze);

  ModelNetworks networks;  // batch columns are those of the new batches alone
  const TrainingCells& cells;
  NoiseSource& noise;
  Adam optimizer;
  std::map<std::string, at::Tensor> columns;         // by key, (new batches, width)
  std::map<std::string, at::Tensor> parent_columns;  // by key, (parent's batches, width)
  std::map<std::string, at::Tensor> owned;           // changed, by key (or BatchColumnsKey)
  std::vector<std::string> reasons;                  // why anything is owned
  std::map<std::string, at::Tensor> statistics;      // by key, moved by forward passes
  std::optional<Minibatches> minibatches;
};

absl::Status TrainingSession::State::TakeColumns(const std::map<std::string, HostTensor>& start) {
  const auto batches = static_cast<int64_t>(cells.batches.size());
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.role != TensorRole::kBatchColumns) continue;
    const auto it = start.find(ref.key);
    if (it == start.end() || it->second.dtype() != DType::kFloat32 ||
        it->second.shape() != std::vector<int64_t>{batches, ref.tensor->size(1)}) {
      return absl::InternalError(absl::StrCat("no start columns for '", ref.key, "'"));
    }
    parent_columns[ref.key] = *ref.tensor;
    *ref.tensor = ToTensor(it->second);
    columns[ref.key] = *ref.tensor;
  }
  return absl::OkStatus();
}

void TrainingSession::State::TakeTrained(const FreezeFlags& freeze, bool decays) {
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.role == TensorRole::kNormStatistic || IsBuffer(ref.key)) continue;
    const ParameterPolicy policy = PolicyOf(ref.key, freeze);
    if (!policy.in_optimizer) continue;
    if (ref.role == TensorRole::kBatchColumns) {
      if (policy.columns_trained) {
        ref.tensor->set_requires_grad(true);
        optimizer.Add(ref.key, *ref.tensor, /*decay_only=*/false);
      }
      if (decays) {
        const std::string key = BatchColumnsKey(ref.key);
        owned[key] = parent_columns[ref.key].clone();
        optimizer.Add(key, owned[key], /*decay_only=*/true);
      }
      continue;
    }
    if (!policy.trained && !decays) continue;
    *ref.tensor = ref.tensor->clone();
    if (policy.trained) ref.tensor->set_requires_grad(true);
    owned[ref.key] = *ref.tensor;
    const std::string name =
        ref.role == TensorRole::kWeight ? absl::StrCat(ref.key, "#weight") : ref.key;
    optimizer.Add(name, *ref.tensor, !policy.trained);
  }
}

void TrainingSession::State::TakeStatistics(const FreezeFlags& freeze) {
  std::set<const at::Tensor*> moving;
  for (FcStack* stack : Stacks(networks)) {
    if (!DropoutActive(stack->path, freeze)) stack->dropout = 0;
    const double momentum = BatchNormMomentum(stack->path, freeze);
    for (FcLayer& layer : stack->layers) {
      if (!layer.batch_norm.has_value() || momentum == 0) continue;
      BatchNorm& norm = *layer.batch_norm;
      norm.momentum = momentum;
      norm.running_mean = norm.running_mean.clone();
      norm.running_var = norm.running_var.clone();
      moving.insert(&norm.running_mean);
      moving.insert(&norm.running_var);
    }
  }
  for (const TensorRef& ref : Tensors(networks)) {
    if (moving.contains(ref.tensor)) statistics[ref.key] = *ref.tensor;
  }
}

TrainingSession::TrainingSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TrainingSession::~TrainingSession() = default;

absl::StatusOr<std::unique_ptr<TrainingSession>> TrainingSession::Create(
    const Model& model, const TrainingCells& cells,
    const std::map<std::string, HostTensor>& columns, const FreezeFlags& freeze,
    const AdamOptions& adam, NoiseSource& noise) {
  auto state = std::make_unique<State>(model, cells, adam, noise);
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    PORTOLAN_RETURN_IF_ERROR(state->TakeColumns(columns));
    state->TakeTrained(freeze, adam.weight_decay != 0);
    state->TakeStatistics(freeze);
    state->reasons = FullDeltaReasons(model, freeze, adam);
    const std::string first = state->networks.z_encoder.stack.path + ".fc_layers.Layer 0.0.";
    state->minibatches.emplace(
        state->networks, cells.counts, cells.batch_codes,
        Minibatches::Keep{.first_layer = !state->owned.contains(first + "weight") &&
                                         !state->owned.contains(first + "bias"),
                          .count_terms = !state->owned.contains("px_r") &&
                                         !state->networks.px_r.requires_grad()});
    return absl::OkStatus();
  }));
  return std::unique_ptr<TrainingSession>(new TrainingSession(std::move(state)));
}

absl::StatusOr<StepResult> TrainingSession::Step(std::span<const int64_t> rows, double kl_weight,
                                                 double learning_rate) {
  StepResult result;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    State& s = *state_;
    const LossTerms terms = ComputeLoss(s.networks, s.minibatches->Make(rows), /*training=*/true,
                                        RandomUse::kLatentNoise, s.noise);
    const at::Tensor loss =
        (terms.reconstruction + kl_weight * terms.kl + terms.kl_unweighted).mean();
    result.loss = loss.item<double>();
    if (!std::isfinite(result.loss)) {
      return absl::AbortedError(
          absl::StrCat("the training loss became ", result.loss,
                       "; lower the learning rate or look for extreme counts in the query"));
    }
    result.reconstruction = ToVector(terms.reconstruction);
    result.kl = ToVector(terms.kl + terms.kl_unweighted);
    // Nothing to train (a model that sees the batch nowhere) leaves a loss without a graph.
    if (loss.requires_grad()) loss.backward();
    s.optimizer.Step(learning_rate);
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<std::vector<double>> TrainingSession::NegativeElbo(std::span<const int64_t> rows) {
  std::vector<double> out;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    return AppendNegativeElbo(state_->networks, *state_->minibatches, rows, state_->noise, {}, out);
  }));
  return out;
}

absl::StatusOr<Extension> TrainingSession::Extract() const {
  Extension extension;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    extension.batches = state_->cells.batches;
    for (const auto& [key, tensor] : state_->columns) extension.columns[key] = ToHost(tensor);
    for (const auto& [key, tensor] : state_->owned) extension.replaced[key] = ToHost(tensor);
    for (const auto& [key, tensor] : state_->statistics) extension.replaced[key] = ToHost(tensor);
    extension.reasons = state_->reasons;
    return absl::OkStatus();
  }));
  return extension;
}

absl::StatusOr<TensorBundle> TrainingSession::Save() const {
  TensorBundle bundle;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    state_->optimizer.Save(bundle);
    for (const auto& [key, tensor] : state_->statistics) {
      bundle.tensors["statistic/" + key] = ToHost(tensor);
    }
    return absl::OkStatus();
  }));
  return bundle;
}

absl::Status TrainingSession::Load(const TensorBundle& bundle) {
  return TorchFence([&]() -> absl::Status {
    if (!state_->optimizer.Load(bundle)) return CheckpointMismatch("its parameters do not fit");
    for (auto& [key, tensor] : state_->statistics) {
      const auto it = bundle.tensors.find("statistic/" + key);
      if (it == bundle.tensors.end() || it->second.dtype() != DType::kFloat32 ||
          it->second.shape() != tensor.sizes().vec()) {
        return CheckpointMismatch(absl::StrCat("its '", key, "' does not fit"));
      }
      tensor.copy_(ToTensor(it->second));
    }
    return absl::OkStatus();
  });
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
  return {reasons.begin(), reasons.end()};
}

absl::StatusOr<std::vector<double>> NegativeElbo(const Model& model, const CsrMatrix& counts,
                                                 const std::vector<int32_t>& codes,
                                                 NoiseSource& noise, const CancelToken& cancel) {
  std::vector<double> out;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    const Minibatches minibatches(model.networks(), counts, codes, {});
    std::vector<int64_t> rows(counts.rows());
    for (int64_t i = 0; i < counts.rows(); ++i) rows[i] = i;
    return AppendNegativeElbo(model.networks(), minibatches, rows, noise, cancel, out);
  }));
  return out;
}

}  // namespace portolan
