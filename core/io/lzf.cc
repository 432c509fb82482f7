#include "core/io/lzf.h"

#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace portolan {
namespace {

thread_local size_t chunk_size = 0;

// HDF5's filter callback: returns the number of valid bytes in *buf, 0 for a failure.
size_t LzfFilter(unsigned flags, size_t value_count, const unsigned values[], size_t bytes,
                 size_t* buf_size, void** buf) {
  if ((flags & H5Z_FLAG_REVERSE) == 0) return 0;
  const size_t declared = value_count > kLzfChunkSizeValue ? values[kLzfChunkSizeValue] : 0;
  // Twice: a string of variable length takes 16 bytes in the file and 8 in memory, and sizes are
  // told in the latter.
  const size_t room = 2 * std::max<size_t>(declared, chunk_size);
  if (room == 0) return 0;
  const auto expanded = ExpandLzf({static_cast<const uint8_t*>(*buf), bytes}, room);
  if (!expanded.has_value() || expanded->size() < declared) return 0;
  void* out = H5allocate_memory(room, true);
  if (out == nullptr) return 0;
  std::memcpy(out, expanded->data(), expanded->size());
  H5free_memory(*buf);
  *buf = out;
  // Not the room: HDF5's copying takes this for the size of other buffers too.
  *buf_size = expanded->size();
  return expanded->size();
}

}  // namespace

std::optional<std::vector<uint8_t>> ExpandLzf(std::span<const uint8_t> block, size_t limit) {
  std::vector<uint8_t> out;
  // Three bytes give at most 264, so a small block cannot claim a large one.
  out.reserve(std::min(limit, 88 * block.size()));
  size_t at = 0;
  while (at < block.size()) {
    const size_t control = block[at++];
    if (control < 32) {
      const size_t run = control + 1;
      if (run > block.size() - at || run > limit - out.size()) return std::nullopt;
      out.insert(out.end(), block.begin() + at, block.begin() + at + run);
      at += run;
      continue;
    }
    size_t length = (control >> 5) + 2;
    if (length == 9) {
      if (at >= block.size()) return std::nullopt;
      length += block[at++];
    }
    if (at >= block.size()) return std::nullopt;
    const size_t distance = (((control & 31) << 8) | block[at++]) + 1;
    if (distance > out.size() || length > limit - out.size()) return std::nullopt;
    // The source may overlap what is being written: byte by byte, from the front.
    const size_t from = out.size() - distance;
    out.resize(out.size() + length);
    uint8_t* bytes = out.data();
    for (size_t i = 0; i < length; ++i) bytes[from + distance + i] = bytes[from + i];
  }
  return out;
}

LzfChunkSize::LzfChunkSize(size_t bytes) : outer_(std::exchange(chunk_size, bytes)) {}

LzfChunkSize::~LzfChunkSize() { chunk_size = outer_; }

void RegisterLzfFilter() {
  if (H5Zfilter_avail(kLzfFilter) > 0) return;
  const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, kLzfFilter, 1,        1, "lzf",
                               nullptr,          nullptr,    LzfFilter};
  H5Zregister(&filter);
}

}  // namespace portolan
