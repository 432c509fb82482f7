#pragma once

#include <hdf5.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

/// The fence around the HDF5 library: typed errors instead of its error stack, handles that close
/// themselves, sizes checked before anything is allocated. Files are taken to be hostile: links
/// into other files, data kept in other files and filter plugins are refused.
namespace portolan::hdf5 {

/// Held while HDF5 is called: the library's own lock, where it has one, covers single calls only.
/// Recursive, since closing a handle inside a guarded sequence takes it again. Every function below
/// takes it by itself; nothing holds it while user code (a sink) runs.
class Gate {
 public:
  Gate();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// Owns one HDF5 identifier. Movable.
class Handle {
 public:
  Handle() = default;
  explicit Handle(hid_t id) : id_(id) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Handle& operator=(Handle&& other) noexcept;
  ~Handle() { Close(); }

  hid_t id() const { return id_; }
  bool valid() const { return id_ >= 0; }
  hid_t Release() { return std::exchange(id_, -1); }
  void Close();

 private:
  hid_t id_ = -1;
};

/// The innermost message of this thread's HDF5 error stack; empties the stack.
std::string LastError();

/// Opens for reading. Errors: InvalidField("file") for a truncated or damaged file.
absl::StatusOr<Handle> OpenFile(const std::string& path);

enum class ObjectKind { kAbsent, kGroup, kDataset, kOther };

/// What stands at `path` ("layers/counts") below `at`; links into other files are kOther.
ObjectKind KindOf(const Handle& at, const std::string& path);

/// Names of a group's links, in the order of names.
absl::StatusOr<std::vector<std::string>> Children(const Handle& group);

/// Opens a group. `field` names it in the error.
absl::StatusOr<Handle> OpenGroup(const Handle& at, const std::string& path,
                                 const std::string& field);

enum class ValueKind { kInteger, kFloat, kBoolean, kString, kCompound, kOther };

/// How the elements of a dataset are stored.
struct ElementType {
  ValueKind kind = ValueKind::kOther;
  size_t bytes = 0;        ///< per element in the file
  bool is_signed = false;  ///< integers
};

/// A dataset, or one member of a compound dataset, open for reading. Copies share the handle.
struct Dataset {
  std::shared_ptr<Handle> handle;
  std::string field;           ///< how errors name it
  std::string member;          ///< of a compound; empty otherwise
  std::vector<int64_t> shape;  ///< empty for a scalar
  std::vector<int64_t> chunk;  ///< empty unless chunked
  size_t chunk_bytes = 0;      ///< of a whole chunk, expanded
  ElementType type;

  int64_t size() const;  ///< number of elements; 1 for a scalar
};

/// Opens a dataset whose size, layout and filters this library can trust and read.
absl::StatusOr<Dataset> OpenDataset(const Handle& at, const std::string& path,
                                    const std::string& field);

/// The dataset that a reference-valued attribute points to (anndata 0.7's categories).
absl::StatusOr<Dataset> OpenReferenced(const Handle& object, const char* attribute,
                                       const std::string& field);

/// Names of a compound dataset's members.
absl::StatusOr<std::vector<std::string>> Members(const Dataset& dataset);

/// One member, as a dataset of its own.
absl::StatusOr<Dataset> Member(const Dataset& dataset, const std::string& name);

/// Reads the box at `start` of extent `count` into `out`, which has room for it, converting to T:
/// float, double, int32_t or int64_t (ReadAll: also uint64_t). Errors: InvalidField(dataset.field).
template <typename T>
absl::Status ReadBox(const Dataset& dataset, std::span<const int64_t> start,
                     std::span<const int64_t> count, T* out);

/// ReadBox of one dimension.
template <typename T>
absl::Status Read(const Dataset& dataset, int64_t start, int64_t count, T* out) {
  return ReadBox<T>(dataset, std::span(&start, 1), std::span(&count, 1), out);
}

/// All elements, or the one of a scalar.
template <typename T>
absl::StatusOr<std::vector<T>> ReadAll(const Dataset& dataset);

/// All strings of a dataset of at most one dimension, of fixed or variable length.
absl::StatusOr<std::vector<std::string>> ReadStrings(const Dataset& dataset);

/// Attributes; empty where absent or of another type.
bool HasAttribute(const Handle& object, const char* name);
std::optional<std::string> StringAttribute(const Handle& object, const char* name);
std::optional<std::vector<std::string>> StringsAttribute(const Handle& object, const char* name);
std::optional<std::vector<int64_t>> IntegersAttribute(const Handle& object, const char* name);

}  // namespace portolan::hdf5
