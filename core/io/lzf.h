#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace portolan {

/// h5py's number for the filter, and which of its parameters holds the size of a whole chunk.
inline constexpr int kLzfFilter = 32000;
inline constexpr size_t kLzfChunkSizeValue = 2;

/// Expands one LZF block: literal runs (control byte 000LLLLL: L + 1 bytes follow) and back
/// references (LLLooooo oooooooo: copy L + 2 bytes from o + 1 back; L = 7 adds one more byte of
/// length after the control byte). At most `limit` bytes come out. Empty for a malformed block.
std::optional<std::vector<uint8_t>> ExpandLzf(std::span<const uint8_t> block, size_t limit);

/// Makes HDF5 read datasets compressed with h5py's LZF filter (id 32000). Idempotent; the caller
/// holds the gate. When HDF5 writes through the filter, chunks are stored as they are, which the
/// filter's optional flag allows and every reader understands.
void RegisterLzfFilter();

/// How large the chunks are that this thread reads while the object lives. HDF5 reads a whole chunk
/// from what the filter returns, however short that is, and newer writers leave the size out of the
/// filter's parameters: the filter makes its buffers at least this large, and expands nothing
/// without either. Nested objects restore the outer one's size.
class LzfChunkSize {
 public:
  explicit LzfChunkSize(size_t bytes);
  ~LzfChunkSize();
  LzfChunkSize(const LzfChunkSize&) = delete;
  LzfChunkSize& operator=(const LzfChunkSize&) = delete;

 private:
  size_t outer_;
};

}  // namespace portolan
