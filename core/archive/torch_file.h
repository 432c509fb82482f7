#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/archive/host_tensor.h"
#include "core/archive/py_value.h"
#include "core/archive/saved_model.h"
#include "core/archive/unpickler.h"
#include "core/archive/zip_reader.h"

namespace portolan {

/// A file written by torch.save (the zip format of torch 1.6 and newer): the value at its root, and
/// its tensors, read when asked for. Not thread-safe. Tensors share the file's memory where their
/// layout allows and stay valid after the TorchFile is gone.
class TorchFile {
 public:
  static absl::StatusOr<TorchFile> Parse(SharedBytes file, const ArchiveLimits& limits);

  PyValue root() const { return document_.root; }
  const SharedBytes& bytes() const { return zip_.file(); }

  /// The tensor as dense row-major data of its own dtype. `name` is for messages. Everything that
  /// all calls copy together is bounded by a multiple of the file's size.
  absl::StatusOr<HostTensor> ReadTensor(PyValue tensor, const std::string& name);
  /// The same, converted by ToModelDType.
  absl::StatusOr<HostTensor> ReadModelTensor(PyValue tensor, const std::string& name);

 private:
  struct View;
  TorchFile(ZipReader zip, PyDocument document)
      : zip_(std::move(zip)), document_(std::move(document)) {}
  absl::StatusOr<View> DescribeTensor(PyValue tensor, const std::string& name) const;
  absl::StatusOr<SharedBytes> ReadStorage(const std::string& key, uint64_t bytes,
                                          const std::string& name);
  absl::Status Spend(uint64_t bytes, const std::string& name);

  ZipReader zip_;
  PyDocument document_;
  std::string prefix_;  // of the entries: "archive/"
  bool big_endian_ = false;
  uint64_t copy_budget_ = 0;
  std::map<std::string, SharedBytes> storages_;
};

}  // namespace portolan
