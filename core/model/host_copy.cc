#include "core/model/host_copy.h"

#include <cstring>

namespace portolan {

at::Tensor ToTensor(const HostTensor& host) {
  at::Tensor tensor = at::empty(host.shape(), at::kFloat);
  if (host.size_bytes() > 0) {
    std::memcpy(tensor.data_ptr<float>(), host.data(), host.size_bytes());
  }
  return tensor;
}

HostTensor ToHost(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().to(at::kFloat).contiguous();
  return HostTensor::FromFloats(dense.sizes().vec(),
                                {dense.data_ptr<float>(), static_cast<size_t>(dense.numel())});
}

}  // namespace portolan
