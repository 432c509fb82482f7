#include "core/archive/host_tensor.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portolan {
namespace {

template <typename T>
HostTensor Copy(DType dtype, std::vector<int64_t> shape, std::span<const T> values) {
  std::shared_ptr<std::byte[]> bytes(new std::byte[values.size_bytes()]);
  if (!values.empty()) std::memcpy(bytes.get(), values.data(), values.size_bytes());
  return HostTensor(dtype, std::move(shape), std::move(bytes));
}

}  // namespace

size_t DTypeSize(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kInt16:
      return 2;
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool:
      return 1;
  }
  return 0;
}

HostTensor::HostTensor(DType dtype, std::vector<int64_t> shape,
                       std::shared_ptr<const std::byte[]> bytes)
    : dtype_(dtype), shape_(std::move(shape)), bytes_(std::move(bytes)) {}

HostTensor HostTensor::FromFloats(std::vector<int64_t> shape, std::span<const float> values) {
  return Copy(DType::kFloat32, std::move(shape), values);
}

HostTensor HostTensor::FromInts(std::vector<int64_t> shape, std::span<const int64_t> values) {
  return Copy(DType::kInt64, std::move(shape), values);
}

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape_) count *= extent;
  return bytes_ == nullptr ? 0 : count;
}

std::span<const float> HostTensor::floats() const {
  return {reinterpret_cast<const float*>(data()), static_cast<size_t>(elements())};
}

std::span<const int64_t> HostTensor::ints() const {
  return {reinterpret_cast<const int64_t*>(data()), static_cast<size_t>(elements())};
}

std::string ShapeString(std::span<const int64_t> shape) {
  return absl::StrCat("(", absl::StrJoin(shape, ", "), ")");
}

}  // namespace portolan
