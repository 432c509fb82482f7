#include "tests/core/archive/pickle_builder.h"

#include <bit>

namespace portolan::pickle {

std::string Little(uint64_t value, size_t width) {
  std::string bytes;
  for (size_t i = 0; i < width; ++i) {
    bytes.push_back(static_cast<char>(i < sizeof(value) ? (value >> (8 * i)) & 0xff : 0));
  }
  return bytes;
}

std::string Join(const Parts& parts) {
  std::string joined;
  for (const std::string& part : parts) joined += part;
  return joined;
}

std::string None() { return "N"; }
std::string Bool(bool value) { return value ? "\x88" : "\x89"; }

std::string Int(int64_t value) {
  if (value >= 0 && value < 256) return Join({"K", Little(static_cast<uint64_t>(value), 1)});
  if (value >= INT32_MIN && value <= INT32_MAX) {
    return Join({"J", Little(static_cast<uint64_t>(value), 4)});
  }
  return Join({"\x8a\x08", Little(static_cast<uint64_t>(value), 8)});
}

std::string Float(double value) {
  std::string bytes = Little(std::bit_cast<uint64_t>(value), 8);
  return Join({"G", std::string(bytes.rbegin(), bytes.rend())});
}

std::string Str(std::string_view text) {
  return Join({"X", Little(text.size(), 4), std::string(text)});
}

std::string Bytes(std::string_view text) {
  return Join({"B", Little(text.size(), 4), std::string(text)});
}

std::string Tuple(const Parts& items) { return Join({"(", Join(items), "t"}); }
std::string List(const Parts& items) { return Join({"](", Join(items), "e"}); }

std::string Fill(const Pairs& pairs) {
  std::string body = "(";
  for (const auto& [key, value] : pairs) body += key + value;
  return body + "u";
}

std::string Dict(const Pairs& pairs) { return Join({"}", Fill(pairs)}); }

std::string Global(std::string_view module, std::string_view name) {
  return Join({"c", std::string(module), "\n", std::string(name), "\n"});
}

std::string Call(const std::string& callable, const Parts& arguments) {
  return Join({callable, Tuple(arguments), "R"});
}

std::string Build(const std::string& object, const std::string& state) {
  return Join({object, state, "b"});
}

std::string OrderedDict(const Pairs& pairs) {
  return Join({Call(Global("collections", "OrderedDict"), {}), Fill(pairs)});
}

std::string Latin1Bytes(std::string_view bytes) {
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
  return Call(Global("_codecs", "encode"), {Str(text), Str("latin1")});
}

std::string DType(std::string_view type, std::string_view order) {
  return Build(Call(Global("numpy", "dtype"), {Str(type), Bool(false), Bool(true)}),
               Tuple({Int(3), Str(order), None(), None(), None(), Int(-1), Int(-1), Int(0)}));
}

std::string Array(const Parts& shape, const std::string& dtype, const std::string& payload,
                  std::string_view module) {
  return Build(Call(Global(module, "_reconstruct"),
                    {Global("numpy", "ndarray"), Tuple({Int(0)}), Latin1Bytes("b")}),
               Tuple({Int(1), Tuple(shape), dtype, Bool(false), payload}));
}

std::string StrList(const std::vector<std::string>& texts) {
  Parts items;
  for (const std::string& text : texts) items.push_back(Str(text));
  return List(items);
}

std::string StrArray(const std::vector<std::string>& texts) {
  return Array({Int(static_cast<int64_t>(texts.size()))}, DType("O8", "|"), StrList(texts));
}

std::string Int64Array(const std::vector<int64_t>& values) {
  std::string raw;
  for (const int64_t value : values) raw += Little(static_cast<uint64_t>(value), 8);
  return Array({Int(static_cast<int64_t>(values.size()))}, DType("i8", "<"), Latin1Bytes(raw));
}

std::string Storage(std::string_view type, std::string_view key, int64_t elements,
                    std::string_view device) {
  return Tuple({Str("storage"), Global("torch", type), Str(key), Str(device), Int(elements)}) + "Q";
}

std::string Ints(const std::vector<int64_t>& values) {
  Parts parts;
  for (const int64_t value : values) parts.push_back(Int(value));
  return Tuple(parts);
}

std::string Tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& stride) {
  return Call(Global("torch._utils", "_rebuild_tensor_v2"),
              {storage, Int(offset), Ints(shape), Ints(stride), Bool(false), OrderedDict({})});
}

std::string Document(const std::string& body, char protocol) {
  return Join({"\x80", std::string(1, protocol), body, "."});
}

}  // namespace portolan::pickle
