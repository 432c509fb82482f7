#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/base/philox.h"

namespace portolan {

/// Where a forward pass gets its random numbers. Numbers belong to cells, not to positions in a
/// minibatch. Several threads may draw at once.
class NoiseSource {
 public:
  virtual ~NoiseSource() = default;
  /// Standard normals, (rows, width), row-major.
  virtual void Normal(RandomUse use, std::span<const int64_t> rows, int64_t width, float* out) = 0;
  /// Uniforms in [0, 1); `stream` tells the layers of a pass apart.
  virtual void Uniform(const std::string& stream, std::span<const int64_t> rows, int64_t width,
                       float* out) = 0;
};

}  // namespace portolan
