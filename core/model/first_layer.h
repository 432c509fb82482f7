#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "core/matrix/cell_inputs.h"
#include "core/model/networks.h"

namespace portolan {

/// What the encoder's first Linear makes of rows of cells, W f(x) + bias without the columns of
/// categories: (rows, H) into `out`. Each row depends on its cell alone, bit for bit. TOTALVI's f
/// is that of TotalviEncoderInput; proteins that did not come with the cells are zeros.
void FirstLayer(const ModelNetworks& networks, const CellInputs& cells,
                std::span<const int64_t> rows, float* out);

/// InvalidField("proteins") unless the cells come with the model's proteins or with none.
absl::Status CheckProteins(const ModelNetworks& networks, const CellInputs& cells);

/// kInternal for a code outside [0, batches): nothing below this check looks at it again.
absl::Status CheckBatchCodes(std::span<const int32_t> codes, int64_t batches);

/// Protein counts of rows, (rows, P) into `out`; zeros where none came.
void ProteinRows(const ModelNetworks& networks, const CellInputs& cells,
                 std::span<const int64_t> rows, float* out);

}  // namespace portolan
