#include "core/archive/py_value.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"

namespace portolan {

PyObjects::PyObjects(SharedBytes pickle) : pickle_(std::move(pickle)) {
  Add(PyKind::kNone);
  nodes_[Add(PyKind::kBool)].integer = 0;
  nodes_[Add(PyKind::kBool)].integer = 1;
}

PyId PyObjects::Add(PyKind kind) {
  nodes_.emplace_back().kind = kind;
  return static_cast<PyId>(nodes_.size() - 1);
}

PyId PyObjects::AddInt(int64_t value) {
  const PyId id = Add(PyKind::kInt);
  nodes_[id].integer = value;
  return id;
}

PyId PyObjects::AddFloat(double value) {
  const PyId id = Add(PyKind::kFloat);
  nodes_[id].real = value;
  return id;
}

PyId PyObjects::AddText(PyKind kind, std::string_view text, bool latin1) {
  const PyId id = Add(kind);
  nodes_[id].text = text.data();
  nodes_[id].size = text.size();
  nodes_[id].latin1 = latin1;
  return id;
}

PyId PyObjects::AddDType(char type, char order, int64_t item_bytes) {
  const PyId id = Add(PyKind::kDType);
  nodes_[id].type = type;
  nodes_[id].order = order;
  nodes_[id].integer = item_bytes;
  return id;
}

PyId PyObjects::AddCompound(PyKind kind, std::vector<PyId> parts) {
  const PyId id = Add(kind);
  uint16_t depth = 0;
  for (const PyId part : parts) depth = std::max<uint16_t>(depth, nodes_[part].depth);
  nodes_[id].depth = static_cast<uint16_t>(depth + 1);
  if (!parts.empty()) PartsOf(id) = std::move(parts);
  return id;
}

void PyObjects::Append(PyId container, PyId part) {
  PartsOf(container).push_back(part);
  const auto depth = static_cast<uint16_t>(nodes_[part].depth + 1);
  nodes_[container].depth = std::max(nodes_[container].depth, depth);
}

void PyObjects::SetPart(PyId compound, size_t index, PyId part) {
  std::vector<PyId>& parts = PartsOf(compound);
  if (parts.size() <= index) parts.resize(index + 1, kNoneId);
  parts[index] = part;
  const auto depth = static_cast<uint16_t>(nodes_[part].depth + 1);
  nodes_[compound].depth = std::max(nodes_[compound].depth, depth);
}

std::vector<PyId>& PyObjects::PartsOf(PyId id) {
  Node& node = nodes_[id];
  if (node.size == 0) {
    parts_.emplace_back();
    node.size = parts_.size();
  }
  return parts_[node.size - 1];
}

std::optional<bool> PyValue::Bool() const {
  if (!is(PyKind::kBool)) return std::nullopt;
  return node().integer != 0;
}

std::optional<int64_t> PyValue::Int() const {
  if (!is(PyKind::kInt) && !is(PyKind::kBool)) return std::nullopt;
  return node().integer;
}

std::optional<double> PyValue::Number() const {
  if (is(PyKind::kFloat)) return node().real;
  if (const auto integer = Int()) return static_cast<double>(*integer);
  return std::nullopt;
}

std::optional<std::string_view> PyValue::Str() const {
  if (!is(PyKind::kStr)) return std::nullopt;
  return text();
}

std::optional<uint64_t> PyValue::BytesSize() const {
  if (!is(PyKind::kBytes)) return std::nullopt;
  return node().size;
}

std::optional<std::string> PyValue::Bytes() const {
  if (!is(PyKind::kBytes)) return std::nullopt;
  if (!node().latin1) return std::string(text());
  std::string bytes;
  bytes.reserve(text().size());
  for (size_t i = 0; i < text().size(); ++i) {
    const auto first = static_cast<uint8_t>(text()[i]);
    if (first < 0x80) {
      bytes.push_back(static_cast<char>(first));
      continue;
    }
    // U+0080 to U+00FF are the two-byte sequences that start with C2 or C3.
    if ((first & 0xfe) != 0xc2 || i + 1 == text().size()) return std::nullopt;
    const auto second = static_cast<uint8_t>(text()[++i]);
    if ((second & 0xc0) != 0x80) return std::nullopt;
    bytes.push_back(static_cast<char>(((first & 3) << 6) | (second & 0x3f)));
  }
  return bytes;
}

bool PyValue::compound() const { return kind() >= PyKind::kTuple && !is(PyKind::kDType); }

size_t PyValue::parts() const {
  return compound() && node().size != 0 ? objects_->parts_[node().size - 1].size() : 0;
}

PyValue PyValue::at_part(size_t index) const {
  if (index >= parts()) return PyValue();
  return PyValue(objects_, objects_->parts_[node().size - 1][index]);
}

size_t PyValue::size() const { return is(PyKind::kDict) ? parts() / 2 : parts(); }

PyValue PyValue::at(size_t index) const { return is(PyKind::kDict) ? PyValue() : at_part(index); }

std::optional<size_t> PyValue::FindPair(std::string_view key) const {
  if (!is(PyKind::kDict)) return std::nullopt;
  for (size_t pair = size(); pair-- > 0;) {
    if (Key(pair).Str() == key) return pair;
  }
  return std::nullopt;
}

PyValue PyValue::Get(std::string_view key) const {
  const auto pair = FindPair(key);
  return pair.has_value() ? Value(*pair) : PyValue();
}

bool PyValue::Has(std::string_view key) const { return FindPair(key).has_value(); }

bool PyValue::IsGlobal(std::string_view module, std::string_view name) const {
  return is(PyKind::kGlobal) && at(0).Str() == module && at(1).Str() == name;
}

std::string KindName(const PyValue& value) {
  switch (value.kind()) {
    case PyKind::kNone:
      return "None";
    case PyKind::kBool:
      return "a bool";
    case PyKind::kInt:
    case PyKind::kBigInt:
      return "an int";
    case PyKind::kFloat:
      return "a float";
    case PyKind::kStr:
      return "a str";
    case PyKind::kBytes:
      return "bytes";
    case PyKind::kTuple:
      return "a tuple";
    case PyKind::kList:
      return "a list";
    case PyKind::kSet:
      return "a set";
    case PyKind::kDict:
      return "a dict";
    case PyKind::kDType:
      return "a numpy dtype";
    case PyKind::kArray:
      return "a numpy array";
    case PyKind::kStorage:
      return "a torch storage";
    case PyKind::kTensor:
      return "a tensor";
    case PyKind::kGlobal:
    case PyKind::kRecord: {
      const PyValue name = value.is(PyKind::kGlobal) ? value : value.at(0);
      return absl::StrCat("an object of ", Absl(Quoted(name.at(0).Str().value_or("?"))), " ",
                          Absl(Quoted(name.at(1).Str().value_or("?"))));
    }
  }
  return "an unknown value";
}

}  // namespace portolan
