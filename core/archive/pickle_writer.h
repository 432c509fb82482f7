#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace portolan::pickled {

/// Values as a pickle of protocol 2, the one torch.save uses. Every function returns the opcodes
/// that push one value, so values nest by passing one to another; Document makes the whole pickle.

using Items = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string None();
std::string Bool(bool value);
std::string Int(int64_t value);
std::string Float(double value);
std::string Text(std::string_view utf8);  ///< str
std::string List(const Items& items);
std::string Tuple(const Items& items);
std::string Dict(const Pairs& pairs);  ///< keys are pickled, too
std::string OrderedDict(const Pairs& pairs);

/// One-dimensional numpy arrays: of dtype object, int64, float64 and bool. The names are those that
/// every numpy since 1.7 resolves.
std::string ObjectArray(const Items& items);
std::string IntArray(const std::vector<int64_t>& values);
std::string FloatArray(const std::vector<double>& values);
std::string BoolArray(const std::vector<bool>& values);

/// A contiguous torch tensor that is all of its storage, file `key` of the archive. `storage` is a
/// class of torch: "FloatStorage", "LongStorage".
std::string Tensor(std::string_view storage, std::string_view key,
                   const std::vector<int64_t>& shape);

std::string Document(const std::string& value);

}  // namespace portolan::pickled
