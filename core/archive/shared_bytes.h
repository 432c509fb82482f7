#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace portolan {

/// A range of immutable bytes that keeps its memory alive. Cheap to copy; copies and slices share
/// the memory.
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(std::shared_ptr<const std::byte[]> bytes, size_t size)
      : bytes_(std::move(bytes)), size_(size) {}

  static SharedBytes CopyOf(std::string_view text);

  const std::byte* data() const { return bytes_.get(); }
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.get()), size_}; }

  /// REQUIRES: offset + size <= this->size().
  SharedBytes Slice(size_t offset, size_t size) const;

  /// The bytes as HostTensor keeps them.
  const std::shared_ptr<const std::byte[]>& owner() const { return bytes_; }

 private:
  std::shared_ptr<const std::byte[]> bytes_;
  size_t size_ = 0;
};

/// `size` bytes of uninitialised memory, aligned for vector loads (64 bytes).
std::shared_ptr<std::byte[]> AllocateBytes(size_t size);

/// The whole file, read once. A private copy, not a mapping: weights that a server keeps for months
/// must not change, or raise SIGBUS, when somebody overwrites or truncates the file; the digest is
/// that of exactly these bytes. kNotFound if there is none, InvalidField("model.pt", ...) if it is
/// larger than `max_bytes`.
absl::StatusOr<SharedBytes> ReadFileBytes(const std::string& path, int64_t max_bytes);

}  // namespace portolan
