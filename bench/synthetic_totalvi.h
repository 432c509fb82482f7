#pragma once

#include "bench/synthetic.h"

namespace portolan {

/// A TOTALVI model with random weights, made for surgery: 4,000 genes, 100 proteins, 256 hidden
/// units in one layer, 20 latents, NB, layer norm everywhere; as scvi-tools 1.4 saves it.
SavedModel SyntheticTotalvi();

/// Cells of one new batch for it, a tenth of the genes' counts non-zero, every protein measured.
TrainingCells SyntheticTotalviCells(int64_t cells);

}  // namespace portolan
