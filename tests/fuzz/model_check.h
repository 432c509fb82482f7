#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/archive/saved_model.h"

namespace portolan::fuzz {

/// Bounds that keep one input quick.
ArchiveLimits SmallLimits();

/// What must hold of anything that was read as a model: errors carry a field; what is a model can
/// be written, is read back as the same, and is written as the same bytes again. Aborts otherwise.
void CheckModel(const absl::StatusOr<SavedModel>& model);

inline std::string_view TextOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace portolan::fuzz
