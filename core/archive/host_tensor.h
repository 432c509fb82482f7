#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace portolan {

enum class DType : uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool,
};

/// Bytes per element.
size_t DTypeSize(DType dtype);

/// A dense row-major array in host memory. Immutable once built and cheap to copy: copies share
/// the bytes.
class HostTensor {
 public:
  HostTensor() = default;
  /// `bytes` holds exactly the elements of `shape`; checked by the caller.
  HostTensor(DType dtype, std::vector<int64_t> shape, std::shared_ptr<const std::byte[]> bytes);

  static HostTensor FromFloats(std::vector<int64_t> shape, std::span<const float> values);
  static HostTensor FromInts(std::vector<int64_t> shape, std::span<const int64_t> values);

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t elements() const;
  size_t size_bytes() const { return static_cast<size_t>(elements()) * DTypeSize(dtype_); }
  const std::byte* data() const { return bytes_.get(); }

  /// REQUIRES: dtype() == kFloat32 (kInt64).
  std::span<const float> floats() const;
  std::span<const int64_t> ints() const;

 private:
  DType dtype_ = DType::kFloat32;
  std::vector<int64_t> shape_;
  std::shared_ptr<const std::byte[]> bytes_;
};

/// "(128, 1287)", for messages.
std::string ShapeString(std::span<const int64_t> shape);

}  // namespace portolan
