#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/archive/tensor_bundle.h"
#include "core/surgery/trainer.h"

namespace portolan {

/// A mapping under way: what each of its runs has come to. Serialised as one bundle.
struct MappingCheckpoint {
  std::string fingerprint;                      ///< of query, version and options
  std::map<std::string, TrainResult> finished;  ///< by run name
  std::map<std::string, TensorBundle> running;  ///< by run name, as the trainer handed it out
};

std::string SerializeCheckpoint(const MappingCheckpoint& checkpoint);

/// InvalidField("checkpoint") on damage.
absl::StatusOr<MappingCheckpoint> ParseCheckpoint(const std::string& bytes);

}  // namespace portolan
