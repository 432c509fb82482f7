#pragma once

#include "bench/synthetic.h"

namespace portolan {

/// A TOTALVI model with random weights, made for surgery: 4,000 genes, 100 proteins, 256 hidden
/// units in one layer, 20 latents, NB, layer norm everywhere; as scvi-tools 1.4 saves it.
SavedModel SyntheticTotalvi();

/// Cells of one new batch for it, a tenth of the genes' counts non-zero, every protein measured.
TrainingCells SyntheticTotalviCells(int64_t cells);

/// Multiply-adds times two of a cell-epoch's dense products, forward and by inputs.
double TotalviFlopsPerCell(const Architecture& architecture);

}  // namespace portolan
