#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "core/matrix/cell_inputs.h"
#include "portolan/v1/upload.pb.h"

namespace portolan::client {

/// Cells of a query as the reader hands them out: one name and one batch code per row of `counts`,
/// and what else the model reads of each.
struct CellBlock {
  std::span<const std::string> cell_names;
  std::span<const int32_t> batch_codes;
  const CsrMatrix& counts;
  const CellAnnotations& annotations = CellInputs::kNoAnnotations;
  std::span<const float> proteins = {};  ///< rows x the reference's proteins, or none
};

/// Rows [first_row, first_row + rows) on the wire: the smallest types that hold every column and
/// value (FLOAT32 where a value is no whole number below 65536), and zlib's CRC-32 over all arrays
/// in the order of the proto.
v1::CountBlock EncodeBlock(const CellBlock& cells, int64_t first_row, int64_t rows);

/// About this many bytes per message: one part of an upload, one block of an embedding stream.
inline constexpr int64_t kPartBytes = 1 << 20;

/// Rows per message at most: nearly empty cells must not ask for an answer of any size.
inline constexpr int64_t kPartRows = 2048;

/// Cuts `cells` into blocks of at most about `part_bytes` and kPartRows (always at least one row
/// each) and hands them to `sink` in order. Stops at the sink's first error. The cuts depend on the
/// cells alone.
absl::Status EncodeParts(const CellBlock& cells, int64_t part_bytes,
                         const std::function<absl::Status(v1::CountBlock)>& sink);

}  // namespace portolan::client
