#include "core/archive/tensor_convert.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/archive/shared_bytes.h"

namespace portolan {
namespace {

float FromBFloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// IEEE 754 binary16.
float FromHalf(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormal numbers: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

template <typename From, typename To, typename Convert>
HostTensor ConvertAll(const HostTensor& tensor, DType dtype, Convert convert) {
  const auto count = static_cast<size_t>(tensor.elements());
  auto bytes = AllocateBytes(count * sizeof(To));
  for (size_t i = 0; i < count; ++i) {
    From from;
    std::memcpy(&from, tensor.data() + i * sizeof(From), sizeof(From));
    const To to = convert(from);
    std::memcpy(bytes.get() + i * sizeof(To), &to, sizeof(To));
  }
  return HostTensor(dtype, tensor.shape(), std::move(bytes));
}

template <typename From>
HostTensor Widen(const HostTensor& tensor) {
  return ConvertAll<From, int64_t>(tensor, DType::kInt64,
                                   [](From value) { return static_cast<int64_t>(value); });
}

}  // namespace

HostTensor ToModelDType(const HostTensor& tensor) {
  switch (tensor.dtype()) {
    case DType::kFloat32:
    case DType::kInt64:
      return tensor;
    case DType::kFloat64:
      return ConvertAll<double, float>(tensor, DType::kFloat32,
                                       [](double value) { return static_cast<float>(value); });
    case DType::kFloat16:
      return ConvertAll<uint16_t, float>(tensor, DType::kFloat32, FromHalf);
    case DType::kBFloat16:
      return ConvertAll<uint16_t, float>(tensor, DType::kFloat32, FromBFloat16);
    case DType::kInt32:
      return Widen<int32_t>(tensor);
    case DType::kInt16:
      return Widen<int16_t>(tensor);
    case DType::kInt8:
      return Widen<int8_t>(tensor);
    case DType::kUInt8:
    case DType::kBool:
      return Widen<uint8_t>(tensor);
  }
  return tensor;
}

}  // namespace portolan
