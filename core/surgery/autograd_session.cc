#include "core/surgery/autograd_session.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/annotations.h"
#include "core/model/first_layer.h"
#include "core/model/host_copy.h"
#include "core/model/torch_runtime.h"
#include "core/surgery/elbo.h"
#include "core/surgery/freeze_policy.h"

namespace portolan {
namespace {

bool IsBuffer(const std::string& key) {
  return key == "library_log_means" || key == "library_log_vars" || key == kProteinMaskKey;
}

absl::Status CheckpointMismatch(const std::string& what) {
  return InvalidField("checkpoint", what, "It belongs to another run; start the mapping again");
}

}  // namespace

absl::Status AutogradSession::TakeColumns(const std::map<std::string, HostTensor>& start) {
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  for (const TensorRef& ref : Tensors(networks_)) {
    if (ref.role != TensorRole::kBatchColumns) continue;
    const auto it = start.find(ref.key);
    if (it == start.end() || it->second.dtype() != DType::kFloat32 ||
        it->second.shape() != std::vector<int64_t>{batches, ref.tensor->size(1)}) {
      return absl::InternalError(absl::StrCat("no start columns for '", ref.key, "'"));
    }
    parent_columns_[ref.key] = *ref.tensor;
    *ref.tensor = ToTensor(it->second);
    columns_[ref.key] = *ref.tensor;
  }
  return absl::OkStatus();
}

void AutogradSession::TakeTrained(const FreezeFlags& freeze, bool decays) {
  for (const TensorRef& ref : Tensors(networks_)) {
    if (ref.role == TensorRole::kNormStatistic || IsBuffer(ref.key)) continue;
    const ParameterPolicy policy = PolicyOf(ref.key, freeze);
    if (!policy.in_optimizer) continue;
    if (ref.role == TensorRole::kBatchColumns) {
      if (policy.columns_trained) {
        ref.tensor->set_requires_grad(true);
        optimizer_.Add(ref.key, *ref.tensor, /*decay_only=*/false);
      }
      if (decays) {
        const std::string key = BatchColumnsKey(ref.key);
        owned_[key] = parent_columns_[ref.key].clone();
        optimizer_.Add(key, owned_[key], /*decay_only=*/true);
      }
      continue;
    }
    const bool trained = ref.role == TensorRole::kOtherColumns ? OtherColumnsTrained(policy, freeze)
                                                               : policy.trained;
    if (!trained && !decays) continue;
    *ref.tensor = ref.tensor->clone();
    if (trained) ref.tensor->set_requires_grad(true);
    const std::string key = StoredKey(ref);
    owned_[key] = *ref.tensor;
    optimizer_.Add(ref.role == TensorRole::kWeight ? absl::StrCat(key, "#weight") : key,
                   *ref.tensor, !trained);
  }
}

void AutogradSession::TakeStatistics(const FreezeFlags& freeze) {
  std::set<const at::Tensor*> moving;
  for (FcStack* stack : Stacks(networks_)) {
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
  for (const TensorRef& ref : Tensors(networks_)) {
    if (moving.contains(ref.tensor)) statistics_[ref.key] = *ref.tensor;
  }
}

void AutogradSession::TakeAdversary(const AdversaryOptions& options, double weight_decay) {
  // The reference's batches are classes, too; other extensions are not, so that a run depends on
  // nothing that was mapped before.
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  adversary_.emplace(networks_.architecture.n_latent, networks_.n_reference_batches + batches,
                     options.seed, weight_decay);
  adversary_options_ = options;
}

AutogradSession::AutogradSession(const Model& model, const TrainingCells& cells,
                                 const AdamOptions& adam, NoiseSource& noise)
    : networks_(model.networks()), cells_(cells), noise_(noise), optimizer_(adam) {}

absl::StatusOr<std::unique_ptr<TrainingSession>> AutogradSession::Create(
    const Model& model, const TrainingCells& cells,
    const std::map<std::string, HostTensor>& columns, const FreezeFlags& freeze,
    const AdamOptions& adam, NoiseSource& noise, const std::optional<AdversaryOptions>& adversary) {
  PORTOLAN_RETURN_IF_ERROR(CheckProteins(model.networks(), cells.inputs()));
  PORTOLAN_RETURN_IF_ERROR(CheckAnnotations(model.description(), cells.annotations, cells.cells(),
                                            AnnotationUse::kLoss));
  std::unique_ptr<AutogradSession> session(new AutogradSession(model, cells, adam, noise));
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    PORTOLAN_RETURN_IF_ERROR(session->TakeColumns(columns));
    session->TakeTrained(freeze, adam.weight_decay != 0);
    session->TakeStatistics(freeze);
    if (adversary.has_value()) session->TakeAdversary(*adversary, adam.weight_decay);
    session->reasons_ = FullDeltaReasons(model, freeze, adam);
    const std::string first = session->networks_.z_encoder.stack.path + ".fc_layers.Layer 0.0.";
    session->minibatches_.emplace(
        session->networks_, cells.inputs(),
        Minibatches::Keep{.first_layer = !session->owned_.contains(first + "weight") &&
                                         !session->owned_.contains(first + "bias"),
                          .count_terms = !session->owned_.contains("px_r") &&
                                         session->networks_.px_r.defined() &&
                                         !session->networks_.px_r.requires_grad()});
    return absl::OkStatus();
  }));
  return session;
}

absl::StatusOr<StepResult> AutogradSession::Step(std::span<const int64_t> rows, double kl_weight,
                                                 double learning_rate) {
  return StepLabelled(rows, {}, 0, kl_weight, learning_rate);
}

absl::StatusOr<StepResult> AutogradSession::StepLabelled(std::span<const int64_t> rows,
                                                         std::span<const int64_t> labelled,
                                                         double classification_ratio,
                                                         double kl_weight, double learning_rate) {
  StepResult result;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    const Minibatch minibatch = minibatches_->Make(rows);
    const LossTerms terms =
        ComputeLoss(networks_, minibatch, /*training=*/true, RandomUse::kLatentNoise, noise_);
    at::Tensor loss = terms.Loss(kl_weight).mean();
    const double scale = adversary_options_.scale.value_or(1 - kl_weight);
    const Pass pass{true, &noise_, rows};
    at::Tensor classes;
    if (adversary_.has_value()) {
      classes = minibatch.batch_codes + networks_.n_reference_batches;
      if (scale > 0) loss = loss + scale * adversary_->FoolLoss(terms.latent, classes, pass);
    }
    if (!labelled.empty()) {
      loss =
          loss + classification_ratio * ClassificationLoss(networks_, minibatches_->Make(labelled),
                                                           /*training=*/true, noise_);
    }
    result.loss = loss.item<double>();
    if (!std::isfinite(result.loss)) {
      return absl::AbortedError(
          absl::StrCat("the training loss became ", result.loss,
                       "; lower the learning rate or look for extreme counts in the query"));
    }
    result.reconstruction = ToVector(terms.Reconstruction());
    if (terms.protein_reconstruction.defined()) {
      result.proteins = ToVector(terms.protein_reconstruction);
    }
    result.kl = ToVector(terms.Kl());
    // Nothing to train (a model that sees the batch nowhere) leaves a loss without a graph.
    if (loss.requires_grad()) loss.backward();
    optimizer_.Step(learning_rate);
    if (adversary_.has_value()) adversary_->Step(terms.latent, classes, scale, pass);
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<std::vector<double>> AutogradSession::NegativeElbo(std::span<const int64_t> rows) {
  std::vector<double> out;
  PORTOLAN_RETURN_IF_ERROR(TorchFence(
      [&] { return AppendNegativeElbo(networks_, *minibatches_, rows, noise_, {}, out); }));
  return out;
}

absl::StatusOr<std::vector<float>> AutogradSession::Parameters() const {
  std::vector<float> values;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    for (const at::Tensor& parameter : optimizer_.trained()) {
      const std::vector<float> own = ToVector(parameter);
      values.insert(values.end(), own.begin(), own.end());
    }
    return absl::OkStatus();
  }));
  return values;
}

absl::Status AutogradSession::SetParameters(std::span<const float> values) {
  return TorchFence([&] {
    const c10::NoGradGuard no_grad;
    for (at::Tensor parameter : optimizer_.trained()) {
      const auto own = values.first(parameter.numel());
      parameter.copy_(
          ToTensor(HostTensor::FromFloats(parameter.sizes().vec(), {own.begin(), own.end()})));
      values = values.subspan(own.size());
    }
    return absl::OkStatus();
  });
}

absl::Status AutogradSession::AddLossAndGradient(std::span<const int64_t> rows, double kl_weight,
                                                 LossSum& sum) {
  constexpr size_t kBlock = 128;
  return TorchFence([&] {
    for (size_t at = 0; at < rows.size(); at += kBlock) {
      const auto block = rows.subspan(at, std::min(kBlock, rows.size() - at));
      const LossTerms terms = ComputeLoss(networks_, minibatches_->Make(block), /*training=*/false,
                                          RandomUse::kLatentNoise, noise_);
      const at::Tensor loss = terms.Loss(kl_weight).sum();
      sum.loss += loss.item<double>();
      if (!loss.requires_grad()) continue;
      loss.backward();
      size_t next = 0;
      for (at::Tensor parameter : optimizer_.trained()) {
        const auto count = static_cast<size_t>(parameter.numel());
        if (parameter.grad().defined()) {
          const std::vector<float> gradient = ToVector(parameter.grad());
          for (size_t i = 0; i < count; ++i) sum.gradient[next + i] += gradient[i];
          parameter.mutable_grad().reset();
        }
        next += count;
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<Extension> AutogradSession::Extract() const {
  Extension extension;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    extension.batches = cells_.batches;
    for (const auto& [key, tensor] : columns_) extension.columns[key] = ToHost(tensor);
    for (const auto& [key, tensor] : owned_) extension.replaced[key] = ToHost(tensor);
    for (const auto& [key, tensor] : statistics_) extension.replaced[key] = ToHost(tensor);
    extension.reasons = reasons_;
    return absl::OkStatus();
  }));
  return extension;
}

absl::StatusOr<TensorBundle> AutogradSession::Save() const {
  TensorBundle bundle;
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] {
    optimizer_.Save(bundle);
    if (adversary_.has_value()) adversary_->Save(bundle);
    for (const auto& [key, tensor] : statistics_) {
      bundle.tensors["statistic/" + key] = ToHost(tensor);
    }
    return absl::OkStatus();
  }));
  return bundle;
}

absl::Status AutogradSession::Load(const TensorBundle& bundle) {
  return TorchFence([&]() -> absl::Status {
    if (!optimizer_.Load(bundle) || (adversary_.has_value() && !adversary_->Load(bundle))) {
      return CheckpointMismatch("its parameters do not fit");
    }
    for (auto& [key, tensor] : statistics_) {
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

}  // namespace portolan
