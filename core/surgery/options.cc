#include "core/surgery/options.h"

#include <algorithm>
#include <cmath>

namespace portolan {

std::string_view PresetName(Preset preset) {
  switch (preset) {
    case Preset::kHlca:
      return "hlca";
    case Preset::kNewton:
      return "newton";
    case Preset::kScvi:
      break;
  }
  return "scvi";
}

int DefaultEpochs(int64_t cells) {
  constexpr double kMost = 400;
  if (cells <= 0) return 1;
  // nearbyint rounds ties to even, as Python's round() does.
  const double epochs = std::nearbyint(20000.0 / static_cast<double>(cells) * kMost);
  return static_cast<int>(std::clamp(epochs, 1.0, kMost));
}

TrainOptions PresetOptions(Preset preset, int64_t cells, ModelClass model_class) {
  TrainOptions options;
  options.freeze.freeze_dropout = true;
  if (preset == Preset::kNewton) {
    const bool totalvi = model_class == ModelClass::kTotalvi;
    options.max_epochs = totalvi ? 40 : 20;
    options.train_share = 1.0;
    options.newton.emplace();
    if (totalvi) options.newton = NewtonOptions{.kl_weight = 0.5, .min_share = 0.0035};
    return options;
  }
  if (model_class == ModelClass::kTotalvi) {
    options.adam.learning_rate = 4e-3;
    options.minibatch = 256;
    options.kl_warmup_epochs = 0;
    options.kl_warmup_steps = static_cast<int64_t>(0.75 * static_cast<double>(cells));
    options.early_stopping.emplace();
    options.plateau.emplace();
  }
  if (preset == Preset::kScvi) {
    options.max_epochs = DefaultEpochs(cells);
    return options;
  }
  options.max_epochs = 500;
  options.train_share = 1.0;
  options.early_stopping = EarlyStoppingOptions{.patience = 10, .min_delta = 0.001};
  options.plateau = PlateauOptions{.factor = 0.1, .patience = 8};
  return options;
}

}  // namespace portolan
