#include "core/surgery/checkpoint_numbers.h"

#include <bit>

namespace portolan {

HostTensor BitsOf(const std::vector<double>& values) {
  std::vector<int64_t> bits;
  bits.reserve(values.size());
  for (const double value : values) bits.push_back(std::bit_cast<int64_t>(value));
  return HostTensor::FromInts({static_cast<int64_t>(bits.size())}, bits);
}

bool ReadInts(const TensorBundle& bundle, const std::string& name, std::vector<int64_t>& out) {
  const auto it = bundle.tensors.find(name);
  if (it == bundle.tensors.end() || it->second.dtype() != DType::kInt64) return false;
  out.assign(it->second.ints().begin(), it->second.ints().end());
  return true;
}

bool ReadDoubles(const TensorBundle& bundle, const std::string& name, std::vector<double>& out) {
  std::vector<int64_t> bits;
  if (!ReadInts(bundle, name, bits)) return false;
  out.clear();
  for (const int64_t value : bits) out.push_back(std::bit_cast<double>(value));
  return true;
}

}  // namespace portolan
