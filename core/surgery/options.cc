#include "core/surgery/options.h"

#include <algorithm>
#include <cmath>

namespace portolan {

std::string_view PresetName(Preset preset) { return preset == Preset::kHlca ? "hlca" : "scvi"; }

int DefaultEpochs(int64_t cells) {
  constexpr double kMost = 400;
  if (cells <= 0) return 1;
  // nearbyint rounds ties to even, as Python's round() does.
  const double epochs = std::nearbyint(20000.0 / static_cast<double>(cells) * kMost);
  return static_cast<int>(std::clamp(epochs, 1.0, kMost));
}

TrainOptions PresetOptions(Preset preset, int64_t cells) {
  TrainOptions options;
  options.freeze.freeze_dropout = true;
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
