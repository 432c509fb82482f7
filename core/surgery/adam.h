#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "core/archive/tensor_bundle.h"
#include "core/surgery/options.h"

namespace portolan {

/// torch's Adam with L2 decay added to the gradient, over parameters that may lack a gradient.
/// Not thread-safe.
class Adam {
 public:
  explicit Adam(const AdamOptions& options) : options_(options) {}

  /// `decay_only`: the parameter's gradient is masked to zero, so only weight decay moves it.
  void Add(const std::string& name, const at::Tensor& parameter, bool decay_only);

  /// One step with this learning rate; parameters without a gradient are skipped. Clears gradients.
  void Step(double learning_rate);
  void ClearGradients();

  /// The parameters that have gradients of their own, in the order of Add.
  std::vector<at::Tensor> trained() const;

  /// Values and moments, for a checkpoint.
  void Save(TensorBundle& bundle) const;
  /// False if the bundle does not hold exactly these parameters.
  bool Load(const TensorBundle& bundle);

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;
    at::Tensor mean;
    at::Tensor square;
    int64_t steps = 0;
    bool decay_only = false;
  };

  AdamOptions options_;
  std::vector<Slot> slots_;
};

}  // namespace portolan
