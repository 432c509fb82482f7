#include "core/model/pass.h"

#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portolan {
namespace {

constexpr double kBatchNormEpsilon = 1e-3;
constexpr double kLayerNormEpsilon = 1e-5;

// Numbers for (repeats x rows, width), drawn per cell so that a cell's numbers are its own.
template <typename Draw>
at::Tensor DrawRows(const Pass& pass, int64_t width, const Draw& draw) {
  const auto rows = static_cast<int64_t>(pass.rows.size());
  at::Tensor out = at::empty({rows, pass.repeats, width}, at::kFloat);
  draw(pass.repeats * width, out.data_ptr<float>());
  return out.permute({1, 0, 2}).reshape({pass.repeats * rows, width});
}

at::Tensor Dropout(const Pass& pass, const at::Tensor& h, double probability,
                   const std::string& stream) {
  const at::Tensor uniform = DrawRows(pass, h.size(1), [&](int64_t total, float* out) {
    pass.noise->Uniform(stream, pass.rows, total, out);
  });
  return h * (uniform >= probability).to(at::kFloat) * (1.0 / (1.0 - probability));
}

at::Tensor ForwardNorms(const FcStack& stack, const FcLayer& layer, at::Tensor h, bool training) {
  if (layer.batch_norm.has_value()) {
    const BatchNorm& norm = *layer.batch_norm;
    const bool statistics = !training || norm.momentum > 0;
    h = at::batch_norm(h, norm.weight, norm.bias, statistics ? norm.running_mean : at::Tensor(),
                       statistics ? norm.running_var : at::Tensor(), training, norm.momentum,
                       kBatchNormEpsilon, /*cudnn_enabled=*/false);
  }
  if (stack.layer_norm) h = at::layer_norm(h, {h.size(1)}, {}, {}, kLayerNormEpsilon);
  return h;
}

at::Tensor AddCategories(const FcLayer& layer, at::Tensor h, const StackInputs& inputs) {
  if (layer.columns.defined()) h = h + layer.columns.index_select(0, inputs.codes);
  for (size_t i = 0; i < layer.covariate_columns.size(); ++i) {
    const at::Tensor& columns = layer.covariate_columns[i];
    if (!columns.defined()) continue;
    h = h + columns.index_select(0, inputs.categorical.select(1, static_cast<int64_t>(i)));
  }
  return h;
}

}  // namespace

at::Tensor DrawNormal(const Pass& pass, RandomUse use, int64_t width) {
  return DrawRows(pass, width, [&](int64_t total, float* out) {
    pass.noise->Normal(use, pass.rows, total, out);
  });
}

at::Tensor InputWeight(const FcStack& stack) {
  const at::Tensor& weight = stack.layers[0].weight;
  return stack.extra_inputs == 0 ? weight : weight.slice(1, 0, weight.size(1) - stack.extra_inputs);
}

at::Tensor FirstLinear(const FcStack& stack, const at::Tensor& input) {
  const FcLayer& layer = stack.layers[0];
  return at::addmm(layer.bias, input, InputWeight(stack).t());
}

at::Tensor ForwardStack(const FcStack& stack, at::Tensor h, const StackInputs& inputs,
                        const Pass& pass) {
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    const FcLayer& layer = stack.layers[i];
    if (i > 0) h = at::addmm(layer.bias, h, layer.weight.t());
    h = AddCategories(layer, std::move(h), inputs);
    if (i == 0 && stack.extra_inputs > 0) {
      const int64_t in = layer.weight.size(1) - stack.extra_inputs;
      h = at::addmm(h, inputs.extra, layer.weight.slice(1, in).t());
    }
    h = at::relu(ForwardNorms(stack, layer, std::move(h), pass.training));
    if (pass.training && stack.dropout > 0) {
      h = Dropout(pass, h, stack.dropout, absl::StrCat(pass.stream, stack.path, ".", i));
    }
  }
  return h;
}

GaussianOutput ForwardGaussian(const GaussianNetwork& network, const at::Tensor& first,
                               const StackInputs& inputs, const Pass& pass) {
  const at::Tensor h = ForwardStack(network.stack, first, inputs, pass);
  GaussianOutput out;
  out.mean = at::addmm(network.mean.bias, h, network.mean.weight.t());
  out.var = at::exp(at::addmm(network.var.bias, h, network.var.weight.t()));
  if (network.var_epsilon > 0) out.var = out.var + network.var_epsilon;
  return out;
}

at::Tensor ClassifierLogits(const Classifier& classifier, const at::Tensor& z, const Pass& pass) {
  at::Tensor h = z;
  if (!classifier.stack.layers.empty()) {
    h = ForwardStack(classifier.stack, FirstLinear(classifier.stack, z), {}, pass);
  }
  return at::addmm(classifier.output.bias, h, classifier.output.weight.t());
}

at::Tensor Sample(const GaussianOutput& q, const at::Tensor& epsilon) {
  return q.mean + at::sqrt(q.var) * epsilon;
}

at::Tensor KlStandardNormal(const GaussianOutput& q) {
  return 0.5 * (q.var + q.mean * q.mean - 1 - at::log(q.var)).sum(-1);
}

at::Tensor NormalLogProb(const at::Tensor& z, const at::Tensor& mean, const at::Tensor& var) {
  const at::Tensor deviation = z - mean;
  return (-0.5 * (deviation * deviation / var + at::log(var)) -
          0.5 * std::log(2 * std::numbers::pi))
      .sum(-1);
}

}  // namespace portolan
