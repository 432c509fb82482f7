#include "core/surgery/schedule.h"

#include <algorithm>
#include <cmath>

namespace portolan {

float KlWeight(const TrainOptions& options, int epoch, int64_t step) {
  if (options.kl_weight.has_value()) return static_cast<float>(*options.kl_weight);
  const bool epochs = options.kl_warmup_epochs > 0;
  const auto done = static_cast<double>(epochs ? epoch : step);
  const auto all = static_cast<double>(epochs ? options.kl_warmup_epochs : options.kl_warmup_steps);
  return done >= all ? 1.0f : static_cast<float>(done / all);
}

bool EarlyStopping::Update(const EarlyStoppingOptions& options, double loss) {
  if (!std::isfinite(loss)) return true;
  if (loss + options.min_delta < best) {
    best = loss;
    epochs_without_gain = 0;
    return false;
  }
  return ++epochs_without_gain >= options.patience;
}

void PlateauSchedule::Update(const PlateauOptions& options, double loss) {
  if (loss < best - options.threshold) {
    best = loss;
    bad_epochs = 0;
  } else if (++bad_epochs > options.patience) {
    const double lower = std::max(learning_rate * options.factor, options.min_learning_rate);
    if (learning_rate - lower > 1e-8) learning_rate = lower;
    bad_epochs = 0;
  }
}

}  // namespace portolan
