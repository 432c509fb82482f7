#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/archive/tensor_bundle.h"

namespace portolan {

/// Doubles as bits, so that a resumed run continues with the very same numbers.
HostTensor BitsOf(const std::vector<double>& values);

/// The tensor of that name; false if it is absent or of another type.
bool ReadInts(const TensorBundle& bundle, const std::string& name, std::vector<int64_t>& out);
bool ReadDoubles(const TensorBundle& bundle, const std::string& name, std::vector<double>& out);

}  // namespace portolan
