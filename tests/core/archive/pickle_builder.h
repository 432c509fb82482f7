#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Pickles for tests, written by hand: every function returns the opcodes that push one value.
namespace portolan::pickle {

using Parts = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

/// `value` as `width` little-endian bytes.
std::string Little(uint64_t value, size_t width);
std::string Join(const Parts& parts);
std::string None();
std::string Bool(bool value);
std::string Int(int64_t value);
std::string Float(double value);
std::string Str(std::string_view text);
std::string Bytes(std::string_view text);
std::string Tuple(const Parts& items);
std::string List(const Parts& items);
/// Fills the dict that was pushed last.
std::string Fill(const Pairs& pairs);
std::string Dict(const Pairs& pairs);
std::string Global(std::string_view module, std::string_view name);
std::string Call(const std::string& callable, const Parts& arguments);
std::string Build(const std::string& object, const std::string& state);
std::string OrderedDict(const Pairs& pairs);
/// bytes as protocol 2 writes them: latin-1 text through _codecs.encode.
std::string Latin1Bytes(std::string_view bytes);
std::string DType(std::string_view type, std::string_view order);
/// A numpy array; `payload` pushes bytes, or a list for dtype object.
std::string Array(const Parts& shape, const std::string& dtype, const std::string& payload,
                  std::string_view module = "numpy.core.multiarray");
std::string StrList(const std::vector<std::string>& texts);
/// A one-dimensional object array of texts, as registries hold them.
std::string StrArray(const std::vector<std::string>& texts);
std::string Int64Array(const std::vector<int64_t>& values);
std::string Storage(std::string_view type, std::string_view key, int64_t elements,
                    std::string_view device = "cpu");
/// A tuple of numbers.
std::string Ints(const std::vector<int64_t>& values);
std::string Tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& stride);
/// The whole pickle whose root `body` pushes.
std::string Document(const std::string& body, char protocol = 2);

}  // namespace portolan::pickle
