#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/matrix/cell_inputs.h"
#include "portolan/v1/upload.pb.h"

namespace portolan::server {

/// What a block is held against.
struct CountBlockBounds {
  int64_t genes = 0;
  int64_t batches = 0;     ///< batch codes are below it
  int64_t max_cells = 0;   ///< that the block may still bring
  bool need_names = true;  ///< without: names are optional, but if any come, all must
  // What the model reads of a cell besides counts.
  int64_t n_proteins = 0;             ///< of the panel
  bool need_proteins = false;         ///< without: they are optional
  std::vector<int64_t> n_categories;  ///< of each categorical covariate
  int64_t n_continuous = 0;           ///< continuous covariates
  bool size_factor = false;
  int64_t n_labels = 0;   ///< label codes are below it; labels are optional
  bool encoding = false;  ///< no loss is computed: covariates and size factors are optional, too
};

/// What the blocks of cells for a model are held against: all but batches and cells.
CountBlockBounds BoundsOf(const ModelDescription& description);

/// Rows of a block, checked and converted.
struct DecodedBlock {
  CsrMatrix counts;
  std::vector<std::string> cell_names;
  std::vector<int32_t> batch_codes;
  CellAnnotations annotations;
  ProteinCounts proteins;  ///< without `measured`
};

/// Checks and converts a block. `where` ("part 3") is named in errors. kDataLoss when the checksum
/// differs; InvalidField("block.FIELD") for arrays whose sizes do not fit each other, columns that
/// do not ascend or lie outside the reference's genes, batch codes outside the list, values that
/// are not positive whole counts, covariates and size factors that are no numbers or codes of the
/// model; kResourceExhausted for more than `max_cells` cells. Nothing is
/// allocated beyond a small multiple of the message itself.
absl::StatusOr<DecodedBlock> DecodeCountBlock(const v1::CountBlock& block,
                                              const CountBlockBounds& bounds,
                                              std::string_view where);

/// CRC-32 (zlib) over all arrays, in the order of the proto.
uint32_t CountBlockCrc32(const v1::CountBlock& block);

}  // namespace portolan::server
