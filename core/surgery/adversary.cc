#include "core/surgery/adversary.h"

#include <cmath>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/philox.h"

namespace portolan {
namespace {

constexpr int64_t kHidden = 32;
constexpr int kLayers = 2;
constexpr double kDropout = 0.1;
constexpr double kLearningRate = 1e-3;

at::Tensor UniformTensor(uint64_t key, const std::string& name, std::vector<int64_t> shape,
                         int64_t inputs) {
  at::Tensor out = at::empty(shape, at::kFloat);
  FillUniform(key, RandomUse::kAdversaryInit, 0, StableHash64(name),
              {out.data_ptr<float>(), static_cast<size_t>(out.numel())});
  out.mul_(2).sub_(1).mul_(1 / std::sqrt(static_cast<double>(inputs)));
  return out;
}

}  // namespace

Adversary::Adversary(int64_t n_latent, int64_t n_batches, uint64_t seed, double weight_decay)
    : n_batches_(n_batches), optimizer_(AdamOptions{.weight_decay = weight_decay}) {
  const uint64_t key = RandomKey(seed, "adversary");
  const auto own = [&](const std::string& name, const at::Tensor& tensor) {
    tensor.set_requires_grad(true);
    optimizer_.Add(absl::StrCat("adversary/", name), tensor, /*decay_only=*/false);
    return tensor;
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    Linear l;
    l.weight = own(name + ".weight", UniformTensor(key, name + ".weight", {out, in}, in));
    l.bias = own(name + ".bias", UniformTensor(key, name + ".bias", {out}, in));
    return l;
  };
  for (int i = 0; i < kLayers; ++i) {
    const std::string name = absl::StrCat("layer", i);
    const Linear l = linear(name, kHidden, i == 0 ? n_latent : kHidden);
    FcLayer layer;
    layer.weight = l.weight;
    layer.bias = l.bias;
    // Momentum 0: only minibatch statistics are ever used.
    layer.batch_norm.emplace();
    layer.batch_norm->weight = own(name + ".norm.weight", at::ones({kHidden}));
    layer.batch_norm->bias = own(name + ".norm.bias", at::zeros({kHidden}));
    trained_.stack.layers.push_back(layer);
  }
  trained_.stack.dropout = kDropout;
  trained_.output = linear("output", n_batches, kHidden);
  fooled_ = trained_;
  trained_.stack.path = "adversary";
  fooled_.stack.path = "adversary.fool";
}

at::Tensor Adversary::Loss(const Classifier& classifier, const at::Tensor& z,
                           const at::Tensor& target, const Pass& pass) const {
  const at::Tensor log_p = at::log_softmax(ClassifierLogits(classifier, z, pass), 1);
  return -(log_p * target).sum(1).mean();
}

at::Tensor Adversary::FoolLoss(const at::Tensor& z, const at::Tensor& codes,
                               const Pass& pass) const {
  const at::Tensor others = 1 - at::one_hot(codes, n_batches_).to(at::kFloat);
  return Loss(fooled_, z, others / static_cast<double>(n_batches_ - 1), pass);
}

void Adversary::Step(const at::Tensor& z, const at::Tensor& codes, double scale, const Pass& pass) {
  // What the model's own step left here is not this classifier's gradient.
  optimizer_.ClearGradients();
  const at::Tensor target = at::one_hot(codes, n_batches_).to(at::kFloat);
  (Loss(trained_, z.detach(), target, pass) * scale).backward();
  optimizer_.Step(kLearningRate);
}

}  // namespace portolan
