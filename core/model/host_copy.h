#pragma once

#include <ATen/ATen.h>

#include "core/archive/host_tensor.h"

namespace portolan {

at::Tensor ToTensor(const HostTensor& host);  ///< copies
HostTensor ToHost(const at::Tensor& tensor);  ///< copies; float32

}  // namespace portolan
