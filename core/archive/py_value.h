#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/archive/shared_bytes.h"

namespace portolan {

enum class PyKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  ///< an integer beyond 64 bits; its value is not kept
  kFloat,
  kStr,
  kBytes,
  kTuple,
  kList,
  kSet,
  kDict,     ///< dict, OrderedDict, defaultdict
  kGlobal,   ///< module, name
  kRecord,   ///< anything else: callable, arguments, state, items, pairs
  kDType,    ///< numpy dtype
  kArray,    ///< numpy array or scalar: dtype, shape, payload, fortran
  kStorage,  ///< torch storage: type, key, elements
  kTensor,   ///< torch tensor: storage, offset, size, stride, dtype
};

using PyId = uint32_t;

/// The values of one pickle, in one arena; a value refers to others by number. So a pickle may
/// share values and hold cycles as it likes: nothing is counted, leaked or destroyed recursively.
/// Texts are views of the pickle's bytes. Filled by Unpickle, constant afterwards.
class PyObjects {
 public:
  static constexpr PyId kNoneId = 0;

  explicit PyObjects(SharedBytes pickle);

  PyId Add(PyKind kind);
  PyId AddBool(bool value) { return value ? 2 : 1; }
  PyId AddInt(int64_t value);
  PyId AddFloat(double value);
  /// kStr or kBytes. `text` must lie in the pickle. `latin1`: the bytes are those of the text's
  /// characters, as `_codecs.encode(text, "latin1")` makes them; converted only when asked for.
  PyId AddText(PyKind kind, std::string_view text, bool latin1 = false);
  PyId AddDType(char type, char order, int64_t item_bytes);
  /// A kind that consists of other values: fields of fixed meaning, items, or keys and values.
  PyId AddCompound(PyKind kind, std::vector<PyId> parts);
  void Append(PyId container, PyId part);
  void SetPart(PyId compound, size_t index, PyId part);
  void SetByteOrder(PyId dtype, char order) { nodes_[dtype].order = order; }

  /// Values and references made so far; what ArchiveLimits::max_objects bounds.
  int64_t cost() const { return static_cast<int64_t>(nodes_.size()) + copied_; }
  void AddCost(int64_t copied) { copied_ += copied; }

 private:
  friend class PyValue;
  struct Node {
    PyKind kind = PyKind::kNone;
    bool latin1 = false;
    char type = 0;   // dtype
    char order = 0;  // dtype
    uint16_t depth = 0;
    union {
      int64_t integer = 0;
      double real;
      const char* text;
    };
    uint64_t size = 0;  // of text; else 1 + index into parts_, 0 for none
  };
  std::vector<PyId>& PartsOf(PyId id);

  SharedBytes pickle_;
  std::vector<Node> nodes_;
  std::vector<std::vector<PyId>> parts_;
  int64_t copied_ = 0;
};

/// One value of a PyObjects, which must outlive it. Values may form cycles and may nest deeply:
/// code that walks them must go a fixed number of steps.
class PyValue {
 public:
  PyValue() = default;  ///< None
  PyValue(const PyObjects* objects, PyId id) : objects_(objects), id_(id) {}

  PyId id() const { return id_; }
  PyKind kind() const { return objects_ == nullptr ? PyKind::kNone : node().kind; }
  bool is(PyKind kind_wanted) const { return kind() == kind_wanted; }
  bool is_none() const { return is(PyKind::kNone); }
  /// Containers that were inserted into this one, at the time of insertion.
  int depth() const { return objects_ == nullptr ? 0 : node().depth; }

  std::optional<bool> Bool() const;
  std::optional<int64_t> Int() const;    ///< int or bool
  std::optional<double> Number() const;  ///< float, int or bool
  std::optional<std::string_view> Str() const;
  std::optional<uint64_t> BytesSize() const;  ///< an upper bound of Bytes()->size()
  std::optional<std::string> Bytes() const;   ///< a copy; nullopt also if a character is > 255

  /// Items of a tuple, list or set; pairs of a dict; fields of the other compounds.
  size_t size() const;
  PyValue at(size_t index) const;  ///< None beyond the end
  PyValue Key(size_t pair) const { return at_part(2 * pair); }
  PyValue Value(size_t pair) const { return at_part(2 * pair + 1); }
  /// A dict's value under a text key (the last one wins); None if absent or no dict.
  PyValue Get(std::string_view key) const;
  bool Has(std::string_view key) const;

  bool IsGlobal(std::string_view module, std::string_view name) const;
  char dtype_kind() const { return node().type; }    ///< 'f', 'i', 'u', 'b', 'U', 'S', 'O', ...
  char dtype_order() const { return node().order; }  ///< '<', '>', '|' or '='
  int64_t dtype_bytes() const { return node().integer; }

 private:
  const PyObjects::Node& node() const { return objects_->nodes_[id_]; }
  std::string_view text() const { return {node().text, node().size}; }
  bool compound() const;
  PyValue at_part(size_t index) const;
  size_t parts() const;
  std::optional<size_t> FindPair(std::string_view key) const;

  const PyObjects* objects_ = nullptr;
  PyId id_ = 0;
};

/// What kind of value it is, for messages: "a list", "an object of pandas.core.frame DataFrame".
std::string KindName(const PyValue& value);

}  // namespace portolan
