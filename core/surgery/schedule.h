#pragma once

#include <cstdint>
#include <limits>

#include "core/surgery/options.h"

namespace portolan {

/// KL weight of an epoch (0-based): a ramp from 0 to 1 over kl_warmup_epochs, then 1; without these
/// over kl_warmup_steps, of which `step` are done; rounded to float32 as scvi-tools keeps it.
float KlWeight(const TrainOptions& options, int epoch, int64_t step = 0);

/// Watches a loss that should fall. State and rule are Lightning's EarlyStopping (mode min).
struct EarlyStopping {
  double best = std::numeric_limits<double>::infinity();
  int64_t epochs_without_gain = 0;

  /// True if training should stop. A loss that is not finite stops, too.
  bool Update(const EarlyStoppingOptions& options, double loss);
};

/// torch's ReduceLROnPlateau (mode min, absolute threshold, eps 1e-8).
struct PlateauSchedule {
  double learning_rate = 0;
  double best = std::numeric_limits<double>::infinity();
  int64_t bad_epochs = 0;

  void Update(const PlateauOptions& options, double loss);
};

}  // namespace portolan
