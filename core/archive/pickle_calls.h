#pragma once

#include "core/archive/py_value.h"

namespace portolan {

/// What calling `callable` with the tuple `args` gives, as data: a container, a numpy array, dtype
/// or scalar, a torch tensor; a kRecord for every callable that is not known as plain data, and for
/// a known one whose arguments are not what its pickler writes.
PyId CallGlobal(PyObjects& objects, PyId callable, PyId args);

/// The effect of BUILD: gives `state` to `object`.
void ApplyState(PyObjects& objects, PyId object, PyId state);

/// The storage that a torch persistent id names; a kRecord if it is none.
PyId ResolvePersistentId(PyObjects& objects, PyId persistent_id);

/// Field numbers of the compounds.
struct RecordField {
  enum : size_t { kCallable, kArguments, kState, kItems, kPairs };
};
struct ArrayField {
  enum : size_t { kDType, kShape, kPayload, kFortran };
};
struct StorageField {
  enum : size_t { kType, kKey, kElements };
};
struct TensorField {
  enum : size_t { kStorage, kOffset, kSize, kStride, kDType };
};

}  // namespace portolan
