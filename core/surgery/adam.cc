#include "core/surgery/adam.h"

#include <c10/core/GradMode.h>

#include <cmath>

#include "core/model/host_copy.h"

namespace portolan {
namespace {

bool LoadInto(const TensorBundle& bundle, const std::string& name, at::Tensor& target) {
  const auto it = bundle.tensors.find(name);
  if (it == bundle.tensors.end() || it->second.dtype() != DType::kFloat32 ||
      it->second.shape() != target.sizes().vec()) {
    return false;
  }
  target.copy_(ToTensor(it->second));
  return true;
}

}  // namespace

void Adam::Add(const std::string& name, const at::Tensor& parameter, bool decay_only) {
  slots_.push_back(
      {name, parameter, at::zeros_like(parameter), at::zeros_like(parameter), 0, decay_only});
}

void Adam::Step(double learning_rate) {
  const c10::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    at::Tensor gradient = slot.decay_only ? at::zeros_like(slot.parameter) : slot.parameter.grad();
    if (!gradient.defined()) continue;
    if (options_.weight_decay != 0) gradient = gradient.add(slot.parameter, options_.weight_decay);
    ++slot.steps;
    const auto t = static_cast<double>(slot.steps);
    const double correction1 = 1 - std::pow(options_.beta1, t);
    const double correction2 = 1 - std::pow(options_.beta2, t);
    slot.mean.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
    slot.square.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
    const at::Tensor denominator =
        slot.square.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
    slot.parameter.addcdiv_(slot.mean, denominator, -learning_rate / correction1);
    slot.parameter.mutable_grad().reset();
  }
}

void Adam::ClearGradients() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
}

std::vector<at::Tensor> Adam::trained() const {
  std::vector<at::Tensor> parameters;
  for (const Slot& slot : slots_) {
    if (!slot.decay_only) parameters.push_back(slot.parameter);
  }
  return parameters;
}

void Adam::Save(TensorBundle& bundle) const {
  for (const Slot& slot : slots_) {
    bundle.tensors["value/" + slot.name] = ToHost(slot.parameter);
    bundle.tensors["mean/" + slot.name] = ToHost(slot.mean);
    bundle.tensors["square/" + slot.name] = ToHost(slot.square);
    bundle.tensors["steps/" + slot.name] = HostTensor::FromInts({1}, {&slot.steps, 1});
  }
}

bool Adam::Load(const TensorBundle& bundle) {
  const c10::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    const auto steps = bundle.tensors.find("steps/" + slot.name);
    if (steps == bundle.tensors.end() || steps->second.dtype() != DType::kInt64 ||
        steps->second.elements() != 1) {
      return false;
    }
    slot.steps = steps->second.ints()[0];
    if (!LoadInto(bundle, "value/" + slot.name, slot.parameter) ||
        !LoadInto(bundle, "mean/" + slot.name, slot.mean) ||
        !LoadInto(bundle, "square/" + slot.name, slot.square)) {
      return false;
    }
  }
  return true;
}

}  // namespace portolan
