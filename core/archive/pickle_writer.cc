#include "core/archive/pickle_writer.h"

#include <bit>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/archive/pickle_opcodes.h"

namespace portolan::pickled {
namespace {

constexpr size_t kBatch = 1000;  // as many items go into one APPENDS or SETITEMS
constexpr char kProtocol = 2;

void Put(PickleOp op, std::string& out) { out.push_back(static_cast<char>(op)); }

void PutLittle(uint64_t value, size_t width, std::string& out) {
  for (size_t i = 0; i < width; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

std::string Op(PickleOp op) { return std::string(1, static_cast<char>(op)); }

std::string Global(std::string_view module, std::string_view name) {
  std::string out = Op(PickleOp::kGlobal);
  out.append(module).append("\n").append(name).append("\n");
  return out;
}

std::string Call(const std::string& callable, const Items& arguments) {
  return callable + Tuple(arguments) + Op(PickleOp::kReduce);
}

/// bytes, which protocol 2 has no opcode for: latin-1 text and the call that encodes it.
std::string Bytes(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80) {
      text.push_back(c);
    } else {
      text.push_back(static_cast<char>(0xc0 | (byte >> 6)));
      text.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return Call(Global("_codecs", "encode"), {Text(text), Text("latin1")});
}

std::string DType(std::string_view type, std::string_view order) {
  const bool object = type[0] == 'O';

  return Call(Global("numpy", "dtype"), {Text(type), Bool(false), Bool(true)}) +
         Tuple({Int(3), Text(order), None(), None(), None(), Int(-1), Int(-1),
                Int(object ? 63 : 0)}) +
         Op(PickleOp::kBuild);
}

std::string Array(size_t count, const std::string& dtype, const std::string& payload) {
  const std::string empty = Call(Global("numpy.core.multiarray", "_reconstruct"),
                                 {Global("numpy", "ndarray"), Tuple({Int(0)}), Bytes("b")});
  return empty +
         Tuple({Int(1), Tuple({Int(static_cast<int64_t>(count))}), dtype, Bool(false), payload}) +
         Op(PickleOp::kBuild);
}

/// Pushes `items` in batches onto the container that was pushed last.
void PutItems(const Items& items, PickleOp put, std::string& out) {
  for (size_t i = 0; i < items.size(); i += kBatch) {
    Put(PickleOp::kMark, out);
    for (size_t k = i; k < items.size() && k < i + kBatch; ++k) out += items[k];
    Put(put, out);
  }
}

void PutPairs(const Pairs& pairs, std::string& out) {
  Items items;
  for (const auto& [key, value] : pairs) items.push_back(key + value);
  PutItems(items, PickleOp::kSetItems, out);
}

}  // namespace

std::string None() { return Op(PickleOp::kNone); }

std::string Bool(bool value) { return Op(value ? PickleOp::kNewTrue : PickleOp::kNewFalse); }

std::string Int(int64_t value) {
  std::string out;
  if (value >= std::numeric_limits<int32_t>::min() &&
      value <= std::numeric_limits<int32_t>::max()) {
    Put(PickleOp::kBinInt, out);
    PutLittle(static_cast<uint64_t>(value), 4, out);
  } else {
    Put(PickleOp::kLong1, out);
    out.push_back(8);
    PutLittle(static_cast<uint64_t>(value), 8, out);
  }
  return out;
}

std::string Float(double value) {
  std::string out = Op(PickleOp::kBinFloat);
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((bits >> shift) & 0xff));
  }
  return out;
}

std::string Text(std::string_view utf8) {
  std::string out = Op(PickleOp::kBinUnicode);
  PutLittle(utf8.size(), 4, out);
  out.append(utf8);
  return out;
}

std::string List(const Items& items) {
  std::string out = Op(PickleOp::kEmptyList);
  PutItems(items, PickleOp::kAppends, out);
  return out;
}

std::string Tuple(const Items& items) {
  std::string out = Op(PickleOp::kMark);
  for (const std::string& item : items) out += item;
  Put(PickleOp::kTuple, out);
  return out;
}

std::string Dict(const Pairs& pairs) {
  std::string out = Op(PickleOp::kEmptyDict);
  PutPairs(pairs, out);
  return out;
}

std::string OrderedDict(const Pairs& pairs) {
  std::string out = Call(Global("collections", "OrderedDict"), {});
  PutPairs(pairs, out);
  return out;
}

std::string ObjectArray(const Items& items) {
  return Array(items.size(), DType("O8", "|"), List(items));
}

std::string IntArray(const std::vector<int64_t>& values) {
  std::string raw;
  for (const int64_t value : values) PutLittle(static_cast<uint64_t>(value), 8, raw);
  return Array(values.size(), DType("i8", "<"), Bytes(raw));
}

std::string FloatArray(const std::vector<double>& values) {
  std::string raw;
  for (const double value : values) PutLittle(std::bit_cast<uint64_t>(value), 8, raw);
  return Array(values.size(), DType("f8", "<"), Bytes(raw));
}

std::string BoolArray(const std::vector<bool>& values) {
  std::string raw;
  for (const bool value : values) raw.push_back(value ? '\1' : '\0');
  return Array(values.size(), DType("b1", "|"), Bytes(raw));
}

std::string Tensor(std::string_view storage, std::string_view key,
                   const std::vector<int64_t>& shape) {
  Items sizes, strides;
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  int64_t stride = elements;
  for (const int64_t extent : shape) {
    stride = extent > 0 ? stride / extent : stride;
    sizes.push_back(Int(extent));
    strides.push_back(Int(stride));
  }
  const std::string handle =
      Tuple({Text("storage"), Global("torch", storage), Text(key), Text("cpu"), Int(elements)}) +
      Op(PickleOp::kBinPersId);
  return Call(Global("torch._utils", "_rebuild_tensor_v2"),
              {handle, Int(0), Tuple(sizes), Tuple(strides), Bool(false), OrderedDict({})});
}

std::string Document(const std::string& value) {
  return absl::StrCat(Op(PickleOp::kProto), std::string(1, kProtocol), value, Op(PickleOp::kStop));
}

}  // namespace portolan::pickled
