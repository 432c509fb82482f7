#pragma once

#include "core/archive/host_tensor.h"

namespace portolan {

/// Floating types as float32, all others as int64; the same tensor if it is that already.
HostTensor ToModelDType(const HostTensor& tensor);

}  // namespace portolan
