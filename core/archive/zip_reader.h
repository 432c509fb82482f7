#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/shared_bytes.h"

namespace portolan {

/// One file inside a zip, as the central directory states it.
struct ZipEntry {
  std::string_view name;     ///< into the file's bytes
  uint64_t header = 0;       ///< offset of the local header
  uint64_t data = 0;         ///< offset of the first content byte
  uint64_t stored_size = 0;  ///< bytes in the file
  uint64_t size = 0;         ///< bytes of content
  uint32_t crc32 = 0;        ///< 0: not recorded (torch can be told to leave it out)
  bool deflated = false;
};

/// Random access to the entries of a zip held in memory (zip64 included). The central directory
/// is believed only as far as it agrees with the local headers: same names and methods, every
/// entry inside the file, no two entries overlapping, names unique. Immutable and thread-safe.
/// Errors are InvalidField("model.pt", ...) with the byte offset.
class ZipReader {
 public:
  static absl::StatusOr<ZipReader> Open(SharedBytes file);

  const std::vector<ZipEntry>& entries() const { return entries_; }  ///< in the order of names
  const ZipEntry* Find(std::string_view name) const;
  /// The entry whose name ends in `suffix`; nullptr if there is none or more than one.
  const ZipEntry* FindSuffix(std::string_view suffix) const;

  /// The content, checked against its CRC-32: a view of the file's bytes if the entry is stored,
  /// else inflated. At most `max_bytes` long, and, beyond 1 MiB, inflated no more than
  /// a hundredfold.
  absl::StatusOr<SharedBytes> Read(const ZipEntry& entry, int64_t max_bytes) const;

  const SharedBytes& file() const { return file_; }

 private:
  explicit ZipReader(SharedBytes file) : file_(std::move(file)) {}
  SharedBytes file_;
  std::vector<ZipEntry> entries_;
};

}  // namespace portolan
