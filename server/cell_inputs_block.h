#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "portolan/v1/upload.pb.h"
#include "server/count_block.h"

namespace portolan::server {

/// float32 holds all whole numbers up to here.
inline constexpr float kMaxCount = 16777216.0f;

/// An error in a field of the block at `where`.
absl::Status BlockError(std::string_view where, std::string_view field, const std::string& found,
                        std::string_view remedy);

/// The part of DecodeCountBlock that reads what a model needs of a cell besides its counts:
/// proteins and annotations. REQUIRES: `out.counts` is filled.
absl::Status DecodeCellInputs(const v1::CountBlock& block, const CountBlockBounds& bounds,
                              std::string_view where, DecodedBlock& out);

}  // namespace portolan::server
