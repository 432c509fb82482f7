#include "core/surgery/kernel_session.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/kernels/batch_tables.h"
#include "core/kernels/layers.h"
#include "core/surgery/freeze_policy.h"

namespace portolan {
namespace {

// The stacks of the networks, in any order.
std::vector<const PackedStack*> Stacks(const PackedNetworks& n) {
  std::vector<const PackedStack*> stacks = {&n.encoder.stack, &n.decoder};
  if (n.labels.has_value()) {
    const PackedLabels& labels = *n.labels;
    stacks.insert(stacks.end(),
                  {&labels.classifier, &labels.encoder_z2.stack, &labels.decoder_z1.stack});
  }
  if (n.proteins.has_value()) {
    const PackedProteins& p = *n.proteins;
    stacks.insert(stacks.end(), {&p.genes.body, &p.back.body, &p.fore.body, &p.mix.body});
  }
  return stacks;
}

bool HasBatchNorm(const PackedNetworks& networks) {
  const std::vector<const PackedStack*> stacks = Stacks(networks);
  return std::any_of(stacks.begin(), stacks.end(), [](const PackedStack* stack) {
    return std::any_of(stack->layers.begin(), stack->layers.end(),
                       [](const PackedLayer& layer) { return layer.scale.size() > 0; });
  });
}

bool ColumnsTrain(const PackedNetworks& networks, const FreezeFlags& freeze) {
  const std::vector<BatchTable> tables = TrainedTables(networks);
  return std::all_of(tables.begin(), tables.end(), [&](const BatchTable& table) {
    return PolicyOf(table.key, freeze).columns_trained;
  });
}

bool OnlyColumnsTrain(const FreezeFlags& freeze) {
  return !freeze.unfrozen && !freeze.scvi_columns && freeze.freeze_expression &&
         freeze.freeze_decoder_first_layer && freeze.freeze_classifier;
}

bool IsFloat(const HostTensor& tensor, const std::vector<int64_t>& shape) {
  return tensor.dtype() == DType::kFloat32 && tensor.shape() == shape;
}

bool LoadInto(const TensorBundle& bundle, const std::string& name, std::vector<int64_t> shape,
              std::vector<float>& out) {
  const auto it = bundle.tensors.find(name);
  if (it == bundle.tensors.end() || !IsFloat(it->second, shape)) return false;
  out.assign(it->second.floats().begin(), it->second.floats().end());
  return true;
}

}  // namespace

bool LossByKernels(const Model& model) {
  return model.packed() != nullptr && model.description().architecture.use_observed_lib_size &&
         !HasBatchNorm(*model.packed());
}

bool TrainsByKernels(const Model& model, const TrainingCells& cells, const FreezeFlags& freeze,
                     const AdamOptions& adam) {
  if (!LossByKernels(model)) return false;
  const PackedNetworks& networks = *model.packed();
  const Architecture& a = model.description().architecture;
  const bool dropout = a.dropout_rate > 0 ||
                       (networks.labels.has_value() && a.classifier_dropout > 0) ||
                       (a.proteins.has_value() && a.proteins->dropout_decoder > 0);
  const auto& labels = cells.annotations.labels;
  return OnlyColumnsTrain(freeze) && (freeze.freeze_dropout || !dropout) &&
         adam.weight_decay == 0 && ColumnsTrain(networks, freeze) &&
         // The trainer leaves a lone label out.
         std::count_if(labels.begin(), labels.end(), [](int32_t code) { return code >= 0; }) < 2;
}

absl::StatusOr<std::unique_ptr<TrainingSession>> KernelSession::Create(
    const Model& model, const TrainingCells& cells,
    const std::map<std::string, HostTensor>& columns, const AdamOptions& adam, NoiseSource& noise,
    Precision precision) {
  std::unique_ptr<KernelSession> session(new KernelSession(cells, adam));
  PORTOLAN_RETURN_IF_ERROR(session->TakeColumns(*model.packed(), columns));
  session->loss_ =
      KernelLoss::Create(*model.packed(), cells.inputs(), session->frozen_, noise, precision);
  return session;
}

absl::Status KernelSession::TakeColumns(const PackedNetworks& networks,
                                        const std::map<std::string, HostTensor>& start) {
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  const auto take = [&](const std::string& key, int64_t width) -> absl::StatusOr<HostTensor> {
    const auto it = start.find(key);
    if (it == start.end() || !IsFloat(it->second, {batches, width})) {
      return absl::InternalError(absl::StrCat("no start columns for '", key, "'"));
    }
    return it->second;
  };
  for (const BatchTable& table : TrainedTables(networks)) {
    PORTOLAN_ASSIGN_OR_RETURN(const HostTensor values, take(table.key, table.width));
    Slot slot{table.key, table.width, gradient_width_};
    slot.values.assign(values.floats().begin(), values.floats().end());
    slot.gradient.resize(slot.values.size());
    slot.mean.resize(slot.values.size());
    slot.square.resize(slot.values.size());
    slots_.push_back(std::move(slot));
    gradient_width_ += table.width;
  }
  for (const BatchTable& table : FrozenTables(networks)) {
    PORTOLAN_ASSIGN_OR_RETURN(frozen_[table.key], take(table.key, table.width));
  }
  return absl::OkStatus();
}

std::vector<const float*> KernelSession::Columns() const {
  std::vector<const float*> tables;
  for (const Slot& slot : slots_) tables.push_back(slot.values.data());
  return tables;
}

absl::StatusOr<StepResult> KernelSession::Step(std::span<const int64_t> rows, double kl_weight,
                                               double learning_rate) {
  const auto weight = static_cast<float>(kl_weight);
  loss_->Run(rows, Columns(), RandomUse::kLatentNoise, weight, Gradients::kSummed, losses_);
  StepResult result;
  result.reconstruction = losses_.reconstruction;
  result.proteins = losses_.proteins;
  result.kl = losses_.kl;
  for (const float loss : losses_.loss) result.loss += loss;
  result.loss /= static_cast<double>(rows.size());
  if (!std::isfinite(result.loss)) {
    return absl::AbortedError(
        absl::StrCat("the training loss became ", result.loss,
                     "; lower the learning rate or look for extreme counts in the query"));
  }
  SumGradients(rows);
  AdamStep(learning_rate);
  return result;
}

absl::StatusOr<StepResult> KernelSession::StepLabelled(std::span<const int64_t> rows,
                                                       std::span<const int64_t> labelled,
                                                       double /*classification_ratio*/,
                                                       double kl_weight, double learning_rate) {
  if (!labelled.empty()) return absl::UnimplementedError("kernels do not train a classifier");
  return Step(rows, kl_weight, learning_rate);
}

void KernelSession::ShareWork(WorkSharing& sharing) {
  sharing_ = &sharing;
  loss_->ShareWork(sharing);
}

template <typename Work>
void KernelSession::ForColumns(const Work& work) {
  // Less is not worth a second thread.
  constexpr int64_t kColumns = 2048;
  sharing_->ForEach((gradient_width_ + kColumns - 1) / kColumns, [&](int64_t part, int64_t) {
    const int64_t begin = part * kColumns;
    for (Slot& slot : slots_) {
      const int64_t from = std::max(begin - slot.offset, int64_t{0});
      const int64_t to = std::min(begin + kColumns - slot.offset, slot.width);
      if (from < to) work(slot, from, to);
    }
  });
}

// The mean over the rows, summed in their order.
void KernelSession::SumGradients(std::span<const int64_t> rows) {
  const float share = 1.0f / static_cast<float>(rows.size());
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  ForColumns([&](Slot& slot, int64_t from, int64_t to) {
    for (int64_t batch = 0; batch < batches; ++batch) {
      float* sum = slot.gradient.data() + batch * slot.width;
      std::fill(sum + from, sum + to, 0.0f);
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      const int32_t code = losses_.codes[i];
      if (code < 0) continue;
      AddTo(slot.gradient.data() + code * slot.width + from,
            losses_.gradient.data() + i * gradient_width_ + slot.offset + from, to - from);
    }
    for (int64_t batch = 0; batch < batches; ++batch) {
      float* sum = slot.gradient.data() + batch * slot.width;
      for (int64_t j = from; j < to; ++j) sum[j] *= share;
    }
  });
}

void KernelSession::AddSquares(std::vector<double>& squares) {
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  ForColumns([&](const Slot& slot, int64_t from, int64_t to) {
    for (size_t i = 0; i < losses_.codes.size(); ++i) {
      // Parameters() has all batches of a slot one after the other.
      double* sum = squares.data() + slot.offset * batches + losses_.codes[i] * slot.width;
      const float* gradient = losses_.gradient.data() + i * gradient_width_ + slot.offset;
      for (int64_t j = from; j < to; ++j) sum[j] += static_cast<double>(gradient[j]) * gradient[j];
    }
  });
}

// torch's Adam; see core/surgery/adam.h.
void KernelSession::AdamStep(double learning_rate) {
  const auto beta1 = static_cast<float>(adam_.beta1);
  const auto beta2 = static_cast<float>(adam_.beta2);
  const auto rest1 = static_cast<float>(1 - adam_.beta1);
  const auto rest2 = static_cast<float>(1 - adam_.beta2);
  const auto epsilon = static_cast<float>(adam_.epsilon);
  for (Slot& slot : slots_) {
    ++slot.steps;
    const auto t = static_cast<double>(slot.steps);
    const double correction1 = 1 - std::pow(adam_.beta1, t);
    const auto root2 = static_cast<float>(std::sqrt(1 - std::pow(adam_.beta2, t)));
    const auto rate = static_cast<float>(learning_rate / correction1);
    for (size_t i = 0; i < slot.values.size(); ++i) {
      const float g = slot.gradient[i];
      slot.mean[i] = slot.mean[i] * beta1 + g * rest1;
      slot.square[i] = slot.square[i] * beta2 + g * g * rest2;
      slot.values[i] -= rate * slot.mean[i] / (std::sqrt(slot.square[i]) / root2 + epsilon);
    }
  }
}

absl::StatusOr<std::vector<double>> KernelSession::NegativeElbo(std::span<const int64_t> rows) {
  CellLosses losses;
  loss_->Run(rows, Columns(), RandomUse::kElboNoise, 1.0f, Gradients::kNone, losses);
  std::vector<double> out;
  for (size_t i = 0; i < rows.size(); ++i) out.push_back(losses.reconstruction[i] + losses.kl[i]);
  return out;
}

absl::StatusOr<std::vector<float>> KernelSession::Parameters() const {
  std::vector<float> values;
  for (const Slot& slot : slots_) {
    values.insert(values.end(), slot.values.begin(), slot.values.end());
  }
  return values;
}

absl::Status KernelSession::SetParameters(std::span<const float> values) {
  for (Slot& slot : slots_) {
    std::copy_n(values.begin(), slot.values.size(), slot.values.begin());
    values = values.subspan(slot.values.size());
  }
  return absl::OkStatus();
}

absl::Status KernelSession::AddLossAndGradient(std::span<const int64_t> rows, double kl_weight,
                                               LossSum& sum) {
  constexpr size_t kBlock = 128;
  const auto weight = static_cast<float>(kl_weight);
  for (size_t at = 0; at < rows.size(); at += kBlock) {
    const auto block = rows.subspan(at, std::min(kBlock, rows.size() - at));
    const bool squares = sum.squares.size() == sum.gradient.size();
    loss_->Run(block, Columns(), RandomUse::kLatentNoise, weight,
               squares ? Gradients::kApart : Gradients::kSummed, losses_);
    for (const float loss : losses_.loss) sum.loss += loss;
    SumGradients(block);
    if (squares) AddSquares(sum.squares);
    size_t next = 0;
    const auto share = static_cast<double>(block.size());
    for (const Slot& slot : slots_) {
      for (const float value : slot.gradient) sum.gradient[next++] += value * share;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Extension> KernelSession::Extract() const {
  Extension extension;
  extension.batches = cells_.batches;
  extension.columns = frozen_;
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  for (const Slot& slot : slots_) {
    extension.columns[slot.key] = HostTensor::FromFloats({batches, slot.width}, slot.values);
  }
  return extension;
}

absl::StatusOr<TensorBundle> KernelSession::Save() const {
  TensorBundle bundle;
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  for (const Slot& slot : slots_) {
    const std::vector<int64_t> shape = {batches, slot.width};
    bundle.tensors["value/" + slot.key] = HostTensor::FromFloats(shape, slot.values);
    bundle.tensors["mean/" + slot.key] = HostTensor::FromFloats(shape, slot.mean);
    bundle.tensors["square/" + slot.key] = HostTensor::FromFloats(shape, slot.square);
    bundle.tensors["steps/" + slot.key] = HostTensor::FromInts({1}, {&slot.steps, 1});
  }
  return bundle;
}

absl::Status KernelSession::Load(const TensorBundle& bundle) {
  const auto batches = static_cast<int64_t>(cells_.batches.size());
  for (Slot& slot : slots_) {
    const auto steps = bundle.tensors.find("steps/" + slot.key);
    const std::vector<int64_t> shape = {batches, slot.width};
    if (steps == bundle.tensors.end() || steps->second.dtype() != DType::kInt64 ||
        steps->second.elements() != 1 ||
        !LoadInto(bundle, "value/" + slot.key, shape, slot.values) ||
        !LoadInto(bundle, "mean/" + slot.key, shape, slot.mean) ||
        !LoadInto(bundle, "square/" + slot.key, shape, slot.square)) {
      return InvalidField("checkpoint", "its parameters do not fit",
                          "It belongs to another run; start the mapping again");
    }
    slot.steps = steps->second.ints()[0];
  }
  return absl::OkStatus();
}

}  // namespace portolan
