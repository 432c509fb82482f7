#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"

namespace portolan {

/// Named tensors and a JSON object of metadata in one byte string: how adapters, full deltas and
/// checkpoints are stored. The layout is safetensors': a little-endian u64 header length, a JSON
/// header {name: {dtype, shape, data_offsets}, "__metadata__": {...}}, then the raw tensors; so
/// any safetensors reader opens them. `metadata` is kept as one string under "__metadata__".
struct TensorBundle {
  nlohmann::json metadata = nlohmann::json::object();
  std::map<std::string, HostTensor> tensors;
};

/// The same bundle always gives the same bytes.
std::string SerializeBundle(const TensorBundle& bundle);

/// InvalidField("bundle", ...) on anything malformed, overlapping or out of bounds.
absl::StatusOr<TensorBundle> ParseBundle(std::string_view bytes);

}  // namespace portolan
