#include "core/archive/pickle_calls.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "core/archive/archive_error.h"

namespace portolan {
namespace {

constexpr PyId kNone = PyObjects::kNoneId;

PyId Record(PyObjects& objects, PyId callable, PyId args) {
  return objects.AddCompound(PyKind::kRecord, {callable, args, kNone, kNone, kNone});
}

bool IsSequence(const PyValue& value) {
  return value.is(PyKind::kTuple) || value.is(PyKind::kList) || value.is(PyKind::kSet);
}

/// dict(pairs), dict(mapping) and their kin; the argument's content is copied.
PyId MakeDict(PyObjects& objects, PyId callable, PyId args, size_t content_index) {
  const PyValue content = PyValue(&objects, args).at(content_index);
  std::vector<PyId> parts;
  if (content.is(PyKind::kDict) || IsSequence(content)) {
    for (size_t i = 0; i < content.size(); ++i) {
      const PyValue pair = content.at(i);
      const bool mapping = content.is(PyKind::kDict);
      if (!mapping && (!IsSequence(pair) || pair.size() != 2)) {
        return Record(objects, callable, args);
      }
      parts.push_back(mapping ? content.Key(i).id() : pair.at(0).id());
      parts.push_back(mapping ? content.Value(i).id() : pair.at(1).id());
    }
  }
  objects.AddCost(static_cast<int64_t>(parts.size()));
  return objects.AddCompound(PyKind::kDict, std::move(parts));
}

PyId MakeSequence(PyObjects& objects, PyKind kind, PyId callable, PyId args) {
  const PyValue arguments(&objects, args);
  const PyValue content = arguments.at(0);
  if (arguments.size() != 0 && !IsSequence(content)) return Record(objects, callable, args);
  std::vector<PyId> parts;
  parts.reserve(content.size());
  for (size_t i = 0; i < content.size(); ++i) parts.push_back(content.at(i).id());
  objects.AddCost(static_cast<int64_t>(parts.size()));
  return objects.AddCompound(kind, std::move(parts));
}

/// _codecs.encode(text, "latin1"), bytes(), bytes(text, "latin1"), bytearray(...).
PyId MakeBytes(PyObjects& objects, PyId callable, PyId args) {
  const PyValue arguments(&objects, args);
  if (arguments.size() == 0) return objects.AddText(PyKind::kBytes, std::string_view());
  const PyValue content = arguments.at(0);
  if (content.is(PyKind::kBytes)) return content.id();
  const auto encoding = arguments.at(1).Str();
  if (content.Str().has_value() && (encoding == "latin1" || encoding == "latin-1")) {
    return objects.AddText(PyKind::kBytes, *content.Str(), /*latin1=*/true);
  }
  return Record(objects, callable, args);
}

/// numpy.dtype("f8", ...): kind and bytes per item; the byte order may come later by BUILD.
PyId MakeDType(PyObjects& objects, PyId callable, PyId args) {
  std::string_view text = PyValue(&objects, args).at(0).Str().value_or("");
  char order = '=';
  if (!text.empty() && std::string_view("<>|=").find(text[0]) != std::string_view::npos) {
    order = text[0];
    text.remove_prefix(1);
  }
  int64_t bytes = 0;
  const bool sized = text.size() > 1 && absl::SimpleAtoi(Absl(text.substr(1)), &bytes);
  constexpr int64_t kLongestItem = int64_t{1} << 30;
  if (text.empty() || (text.size() > 1 && !sized) || bytes < 0 || bytes > kLongestItem) {
    return Record(objects, callable, args);
  }
  char type = text[0];
  if (type == '?') type = 'b', bytes = 1;
  if (type == 'a') type = 'S';
  if (type == 'U') bytes *= 4;  // written in characters
  return objects.AddDType(type, order, bytes);
}

PyId MakeTensor(PyObjects& objects, PyId callable, PyId args, bool has_dtype) {
  const PyValue arguments(&objects, args);
  if (!arguments.at(0).is(PyKind::kStorage)) return Record(objects, callable, args);
  return objects.AddCompound(PyKind::kTensor,
                             {arguments.at(0).id(), arguments.at(1).id(), arguments.at(2).id(),
                              arguments.at(3).id(), has_dtype ? arguments.at(6).id() : kNone});
}

PyId MakeArray(PyObjects& objects, PyId dtype, PyId shape, PyId payload, bool fortran) {
  return objects.AddCompound(PyKind::kArray, {dtype, shape, payload, objects.AddBool(fortran)});
}

PyId CallBuiltin(PyObjects& objects, std::string_view name, PyId callable, PyId args) {
  if (name == "dict") return MakeDict(objects, callable, args, 0);
  if (name == "list") return MakeSequence(objects, PyKind::kList, callable, args);
  if (name == "tuple") return MakeSequence(objects, PyKind::kTuple, callable, args);
  if (name == "set" || name == "frozenset") {
    return MakeSequence(objects, PyKind::kSet, callable, args);
  }
  if (name == "bytes" || name == "bytearray") return MakeBytes(objects, callable, args);
  return Record(objects, callable, args);
}

PyId CallNumpy(PyObjects& objects, std::string_view name, PyId callable, PyId args) {
  const PyValue arguments(&objects, args);
  if (name == "_reconstruct") return MakeArray(objects, kNone, kNone, kNone, false);
  if (name == "scalar" && arguments.at(0).is(PyKind::kDType)) {
    const PyId shape = objects.AddCompound(PyKind::kTuple, {});
    return MakeArray(objects, arguments.at(0).id(), shape, arguments.at(1).id(), false);
  }
  if (name == "_frombuffer" && arguments.size() == 4) {
    return MakeArray(objects, arguments.at(1).id(), arguments.at(2).id(), arguments.at(0).id(),
                     arguments.at(3).Str() == "F");
  }
  return Record(objects, callable, args);
}

PyId CallTorch(PyObjects& objects, std::string_view name, PyId callable, PyId args) {
  if (name == "_rebuild_tensor" || name == "_rebuild_tensor_v2") {
    return MakeTensor(objects, callable, args, /*has_dtype=*/false);
  }
  if (name == "_rebuild_tensor_v3") return MakeTensor(objects, callable, args, /*has_dtype=*/true);
  if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
    const PyValue data = PyValue(&objects, args).at(0);
    if (data.is(PyKind::kTensor)) return data.id();
  }
  return Record(objects, callable, args);
}

}  // namespace

PyId CallGlobal(PyObjects& objects, PyId callable, PyId args) {
  const PyValue global(&objects, callable);
  if (!global.is(PyKind::kGlobal) || !PyValue(&objects, args).is(PyKind::kTuple)) {
    return Record(objects, callable, args);
  }
  const std::string_view module = global.at(0).Str().value_or("");
  const std::string_view name = global.at(1).Str().value_or("");
  if (module == "__builtin__" || module == "builtins") {
    return CallBuiltin(objects, name, callable, args);
  }
  if (module == "collections" && name == "OrderedDict") {
    return MakeDict(objects, callable, args, 0);
  }
  if (module == "collections" && name == "defaultdict") {
    return MakeDict(objects, callable, args, 1);
  }
  if (module == "_codecs" && name == "encode") return MakeBytes(objects, callable, args);
  if (module == "numpy" && name == "dtype") return MakeDType(objects, callable, args);
  if (module.starts_with("numpy.core.") || module.starts_with("numpy._core.")) {
    return CallNumpy(objects, name, callable, args);
  }
  if (module == "torch._utils") return CallTorch(objects, name, callable, args);
  if (module == "torch" && name == "Size") {
    return MakeSequence(objects, PyKind::kTuple, callable, args);
  }
  return Record(objects, callable, args);
}

void ApplyState(PyObjects& objects, PyId object, PyId state) {
  const PyValue target(&objects, object);
  const PyValue values(&objects, state);
  if (target.is(PyKind::kRecord)) {
    objects.SetPart(object, RecordField::kState, state);
  } else if (target.is(PyKind::kDType) && values.is(PyKind::kTuple)) {
    const std::string_view order = values.at(1).Str().value_or("");
    if (order.size() == 1) objects.SetByteOrder(object, order[0]);
  } else if (target.is(PyKind::kArray) && values.is(PyKind::kTuple) && values.size() == 5) {
    // (version, shape, dtype, is_fortran, payload)
    const PyId fortran = objects.AddBool(values.at(3).Int().value_or(0) != 0);
    objects.SetPart(object, ArrayField::kShape, values.at(1).id());
    objects.SetPart(object, ArrayField::kDType, values.at(2).id());
    objects.SetPart(object, ArrayField::kPayload, values.at(4).id());
    objects.SetPart(object, ArrayField::kFortran, fortran);
  }
}

PyId ResolvePersistentId(PyObjects& objects, PyId persistent_id) {
  const PyValue id(&objects, persistent_id);
  // ("storage", type, key, device, elements); where the storage lived does not matter.
  if (id.is(PyKind::kTuple) && id.size() >= 5 && id.at(0).Str() == "storage") {
    return objects.AddCompound(PyKind::kStorage, {id.at(1).id(), id.at(2).id(), id.at(4).id()});
  }
  return Record(objects, kNone, persistent_id);
}

}  // namespace portolan
