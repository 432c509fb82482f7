#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/archive/saved_model.h"
#include "core/model/model.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// tests/data/proteins/NAME: a tiny TOTALVI model with 12 proteins, batches a and b.
SavedModel ReadProteinModel(const std::string& name);
std::shared_ptr<const Model> LoadProteinModel(const std::string& name);

/// The 200 synthetic cells with their proteins, all measured.
const TrainingCells& ProteinCells();

/// Rows of ProteinCells() as a new batch. `panel`: 1 for the proteins measured; empty: all are.
struct ProteinBatch {
  std::string name;
  std::vector<int64_t> rows;
  std::vector<uint8_t> panel;
};
TrainingCells ProteinQuery(const std::vector<ProteinBatch>& batches);

/// The panel of which these are missing; all 12: none is measured.
std::vector<uint8_t> PanelWithout(const std::vector<int>& proteins);

}  // namespace portolan
