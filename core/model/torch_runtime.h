#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace portolan {

/// The fence around torch: runs `body` with one intra-op thread and turns what it throws into a
/// status (kResourceExhausted for memory, kInternal otherwise). Every entry from outside passes
/// through it.
absl::Status TorchFence(const std::function<absl::Status()>& body);

/// OK if matrix products go to OpenBLAS; a reference BLAS, some twenty times slower, is refused
/// with the package that mends it. kFailedPrecondition.
absl::Status CheckBlas();

/// "AVX512, OpenBLAS SkylakeX, kernels AVX512": what the numbers are computed with. Same bits are
/// promised within one; the environment variables ATEN_CPU_CAPABILITY, OPENBLAS_CORETYPE and
/// PORTOLAN_KERNELS pin it.
std::string InstructionSet();

}  // namespace portolan
