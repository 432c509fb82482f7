#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/archive/model_description.h"
#include "core/archive/py_value.h"

namespace portolan {

/// How many bytes of text and array content may still be copied out of a pickle. A pickle may refer
/// to one long text a million times, so what is copied is bounded apart from what is stored.
struct TextBudget {
  int64_t left = 0;
  bool Spend(uint64_t bytes);
};

/// Python numbers, and numpy scalars or arrays without dimensions that hold one.
std::optional<int64_t> IntOf(const PyValue& value);
std::optional<double> NumberOf(const PyValue& value);
std::optional<bool> BoolOf(const PyValue& value);

/// The values of a list, tuple or one-dimensional numpy array (object, text, integer, floating or
/// bool, either byte order) as Python's str() spells them. `what` names the value in errors.
absl::StatusOr<std::vector<std::string>> TextList(const PyValue& value, std::string_view what,
                                                  TextBudget& budget);

/// What the values are that TextList reads from `value`: numbers if all are, text otherwise.
CategoryKind CategoryKindOf(const PyValue& value);

/// A single value as str() spells it.
absl::StatusOr<std::string> TextOf(const PyValue& value, std::string_view what, TextBudget& budget);

/// str(value) for a float64 (float32): shortest digits that read back as the same number.
std::string SpellFloat(double value);
std::string SpellFloat(float value);

bool IsUtf8(std::string_view text);

}  // namespace portolan
