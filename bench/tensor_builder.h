#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/archive/saved_model.h"
#include "core/base/philox.h"

namespace portolan {

/// Random tensors of a model by scvi-tools' keys.
class TensorBuilder {
 public:
  explicit TensorBuilder(SavedModel& model) : model_(model) {}

  // torch's default: U(-1/sqrt(in), 1/sqrt(in)).
  void Linear(const std::string& key, int64_t out, int64_t in) {
    const float bound = 1.0f / std::sqrt(static_cast<float>(in));
    Uniform(key + ".weight", {out, in}, bound);
    Uniform(key + ".bias", {out}, bound);
  }

  void Uniform(const std::string& key, std::vector<int64_t> shape, float bound) {
    int64_t elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    std::vector<float> values(elements);
    FillUniform(RandomKey(0, key), RandomUse::kProbe, 0, 0, values);
    for (float& value : values) value = (2 * value - 1) * bound;
    model_.tensors[key] = HostTensor::FromFloats(std::move(shape), values);
  }

  void Stack(const std::string& path, int64_t in, int64_t hidden, int64_t layers,
             int64_t categories, bool deep) {
    for (int64_t i = 0; i < layers; ++i) {
      const int64_t columns = i == 0 || deep ? categories : 0;
      Linear(path + ".fc_layers.Layer " + std::to_string(i) + ".0", hidden,
             (i == 0 ? in : hidden) + columns);
    }
  }

  void Gaussian(const std::string& path, const std::string& role, int64_t in, int64_t hidden,
                int64_t layers, int64_t categories, bool deep, int64_t out) {
    Stack(path + "." + role, in, hidden, layers, categories, deep);
    Linear(path + ".mean_" + role, out, hidden);
    Linear(path + ".var_" + role, out, hidden);
  }

 private:
  SavedModel& model_;
};

}  // namespace portolan
