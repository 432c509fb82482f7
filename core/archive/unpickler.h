#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/archive/py_value.h"
#include "core/archive/saved_model.h"
#include "core/archive/shared_bytes.h"

namespace portolan {

/// A pickle as data: the values and the one at the root.
struct PyDocument {
  std::unique_ptr<const PyObjects> objects;
  PyValue root;
};

/// Reads a pickle of protocol 2 to 5 without executing anything: a global is a pair of names, a
/// call of a global that is known as plain data (dict, numpy array, torch tensor, ...) becomes that
/// data, any other call a kRecord. Memory stays proportional to the pickle. `file_offset` is where
/// the pickle starts in its file; errors name offsets in the file.
absl::StatusOr<PyDocument> Unpickle(SharedBytes pickle, uint64_t file_offset,
                                    const ArchiveLimits& limits);

}  // namespace portolan
