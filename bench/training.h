#pragma once

#include <memory>

#include "core/model/model.h"
#include "core/surgery/training_cells.h"
#include "core/surgery/training_session.h"

namespace portolan::bench {

/// Cells of a training step.
inline constexpr int64_t kMinibatch = 128;

/// One session over cells of one batch: the cells, their noise, the columns. Not movable, for the
/// session holds on to its neighbours; used by one thread. `model` and `cells` outlive it.
class Training {
 public:
  Training(const Model& model, const TrainingCells& cells,
           Precision precision = Precision::kFloat32);
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// Steps over the next minibatches, again from the first cell after the last.
  void Steps(int steps);

 private:
  const TrainingCells& cells_;
  CellNoise noise_;
  std::unique_ptr<TrainingSession> session_;
  int64_t next_ = 0;
};

/// Multiply-adds times two of a cell-epoch's dense products, forward and by inputs.
double FlopsPerCell(const Model& model);

}  // namespace portolan::bench
