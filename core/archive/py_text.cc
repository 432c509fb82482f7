#include "core/archive/py_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/pickle_calls.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr size_t kLongestText = 1 << 16;
// Every name spends sizeof(std::string) beside its text: short names must not cost nothing.
constexpr std::string_view kRemedy = "Set the model up again with text categories and names";

using Scalar = std::variant<bool, int64_t, uint64_t, float, double, std::string>;

/// A numpy array's content: raw items of one type, or references for dtype object.
struct Items {
  char kind = 'O';
  bool big_endian = false;
  size_t item_bytes = 0;
  size_t count = 0;
  std::string raw;
  PyValue objects;
};

absl::Status Broken(std::string_view what, std::string_view found) {
  return ArchiveError(absl::StrCat(Absl(what), " ", Absl(found)), kRemedy);
}

/// The number of items that a shape of at most `most` dimensions states.
std::optional<int64_t> CountOf(const PyValue& shape, size_t most) {
  if (!shape.is(PyKind::kTuple) || shape.size() > most) return std::nullopt;
  int64_t count = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto extent = shape.at(i).Int();
    if (!extent.has_value() || *extent < 0) return std::nullopt;
    count = *extent;  // most <= 1
  }
  return count;
}

absl::StatusOr<Items> OpenArray(const PyValue& array, size_t dimensions, std::string_view what,
                                TextBudget& budget) {
  const PyValue dtype = array.at(ArrayField::kDType);
  const PyValue payload = array.at(ArrayField::kPayload);
  const auto count = CountOf(array.at(ArrayField::kShape), dimensions);
  if (!dtype.is(PyKind::kDType) || !count.has_value()) {
    return Broken(what, "is a numpy array of an unusual type or shape");
  }
  Items items;
  items.kind = dtype.dtype_kind();
  items.big_endian = dtype.dtype_order() == '>';
  items.item_bytes = static_cast<size_t>(dtype.dtype_bytes());
  items.count = static_cast<size_t>(*count);
  if (items.kind == 'O') {
    items.objects = payload;
    const bool scalar = array.at(ArrayField::kShape).size() == 0;
    if (scalar || !payload.is(PyKind::kList) || payload.size() != items.count) {
      return Broken(what, "is a numpy array whose content does not fit its shape");
    }
    return items;
  }
  const uint64_t bound = payload.BytesSize().value_or(0);
  if (!budget.Spend(bound)) return Broken(what, "holds more text than the limit allows");
  const auto raw = payload.Bytes();
  uint64_t wanted;
  if (!raw.has_value() || __builtin_mul_overflow(items.count, items.item_bytes, &wanted) ||
      raw->size() != wanted || (items.item_bytes == 0 && items.count > bound)) {
    return Broken(what, "is a numpy array whose content does not fit its shape");
  }
  items.raw = *raw;
  return items;
}

template <typename T>
T Load(std::string_view bytes, bool big_endian) {
  std::array<char, sizeof(T)> copy;
  std::memcpy(copy.data(), bytes.data(), sizeof(T));
  if (big_endian) std::reverse(copy.begin(), copy.end());
  return std::bit_cast<T>(copy);
}

bool AppendUtf8(uint32_t point, std::string& text) {
  if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
  const auto put = [&text](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | (point >> 6));
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3f));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  }
  return true;
}

/// numpy's fixed-width text: UTF-32 units, filled up with zeros.
std::optional<Scalar> LoadUtf32(std::string_view bytes, bool big_endian) {
  std::string text;
  size_t units = bytes.size() / 4;
  while (units > 0 && Load<uint32_t>(bytes.substr(4 * (units - 1)), big_endian) == 0) --units;
  for (size_t i = 0; i < units; ++i) {
    if (!AppendUtf8(Load<uint32_t>(bytes.substr(4 * i), big_endian), text)) return std::nullopt;
  }
  return text;
}

template <typename Signed, typename Unsigned>
Scalar LoadInteger(std::string_view bytes, bool big_endian, bool is_signed) {
  if (is_signed) return static_cast<int64_t>(Load<Signed>(bytes, big_endian));
  return static_cast<uint64_t>(Load<Unsigned>(bytes, big_endian));
}

std::optional<Scalar> LoadItem(const Items& items, size_t index) {
  const std::string_view bytes =
      std::string_view(items.raw).substr(index * items.item_bytes, items.item_bytes);
  const bool big = items.big_endian;
  const bool is_signed = items.kind == 'i';
  switch (items.kind) {
    case 'b':
      if (bytes.size() == 1) return bytes[0] != 0;
      break;
    case 'i':
    case 'u':
      if (bytes.size() == 1) return LoadInteger<int8_t, uint8_t>(bytes, big, is_signed);
      if (bytes.size() == 2) return LoadInteger<int16_t, uint16_t>(bytes, big, is_signed);
      if (bytes.size() == 4) return LoadInteger<int32_t, uint32_t>(bytes, big, is_signed);
      if (bytes.size() == 8) return LoadInteger<int64_t, uint64_t>(bytes, big, is_signed);
      break;
    case 'f':
      if (bytes.size() == 4) return Load<float>(bytes, big);
      if (bytes.size() == 8) return Load<double>(bytes, big);
      break;
    case 'U':
      if (bytes.size() % 4 == 0) return LoadUtf32(bytes, big);
      break;
    case 'S':
      return std::string(bytes.substr(0, bytes.find_last_not_of('\0') + 1));
    default:
      break;
  }
  return std::nullopt;
}

std::string Spell(const Scalar& scalar) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return value;
        } else if constexpr (std::is_same_v<T, bool>) {
          return value ? "True" : "False";
        } else if constexpr (std::is_floating_point_v<T>) {
          return SpellFloat(value);
        } else {
          return absl::StrCat(value);
        }
      },
      scalar);
}

absl::StatusOr<Scalar> ScalarOf(const PyValue& value, std::string_view what, TextBudget& budget) {
  if (const auto text = value.Str()) {
    if (text->size() > kLongestText || !budget.Spend(text->size())) {
      return Broken(what, "holds more text than the limit allows");
    }
    return Scalar(std::string(*text));
  }
  if (const auto flag = value.Bool()) return Scalar(*flag);
  if (const auto integer = value.Int()) return Scalar(*integer);
  if (const auto number = value.Number()) return Scalar(*number);
  if (value.is(PyKind::kArray)) {
    PORTOLAN_ASSIGN_OR_RETURN(const Items items, OpenArray(value, 0, what, budget));
    if (auto scalar = LoadItem(items, 0)) return *std::move(scalar);
  }
  return Broken(what, absl::StrCat("holds ", KindName(value)));
}

/// A budget for single numbers, which have no text worth counting.
std::optional<Scalar> NumericScalar(const PyValue& value) {
  TextBudget budget{64};
  auto scalar = ScalarOf(value, "", budget);
  if (!scalar.ok()) return std::nullopt;
  return *std::move(scalar);
}

absl::StatusOr<std::string> Checked(const Scalar& scalar, std::string_view what) {
  std::string text = Spell(scalar);
  if (!IsUtf8(text)) return Broken(what, absl::StrCat("holds broken text ", Quoted(text)));
  return text;
}

template <typename T>
std::string SpellShortest(T value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size() - 1, value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t mark = text.find('e');
  const int exponent = std::atoi(text.data() + mark + 1 + (text[mark + 1] == '+' ? 1 : 0));
  // repr() is positional from 1e-4 to below 1e16, with the shortest digits and zeros around them.
  if (exponent < -4 || exponent >= 16) return std::string(text);
  std::string digits(static_cast<size_t>(exponent < 0 ? -exponent : 0), '0');
  for (const char c : text.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  const size_t before_point = static_cast<size_t>(std::max(exponent, 0)) + 1;
  while (digits.size() < before_point + 1) digits.push_back('0');
  return absl::StrCat(std::signbit(value) ? "-" : "", digits.substr(0, before_point), ".",
                      digits.substr(before_point));
}

}  // namespace

bool TextBudget::Spend(uint64_t bytes) {
  if (left < 0 || bytes > static_cast<uint64_t>(left)) return false;
  left -= static_cast<int64_t>(bytes);
  return true;
}

std::string SpellFloat(double value) { return SpellShortest(value); }
std::string SpellFloat(float value) { return SpellShortest(value); }

std::optional<int64_t> IntOf(const PyValue& value) {
  const auto scalar = NumericScalar(value);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* integer = std::get_if<int64_t>(&*scalar)) return *integer;
  if (const auto* number = std::get_if<uint64_t>(&*scalar); number != nullptr) {
    if (*number <= static_cast<uint64_t>(INT64_MAX)) return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<double> NumberOf(const PyValue& value) {
  const auto scalar = NumericScalar(value);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* number = std::get_if<double>(&*scalar)) return *number;
  if (const auto* number = std::get_if<float>(&*scalar)) return static_cast<double>(*number);
  if (const auto integer = IntOf(value)) return static_cast<double>(*integer);
  return std::nullopt;
}

std::optional<bool> BoolOf(const PyValue& value) {
  const auto scalar = NumericScalar(value);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* flag = std::get_if<bool>(&*scalar)) return *flag;
  return std::nullopt;
}

absl::StatusOr<std::string> TextOf(const PyValue& value, std::string_view what,
                                   TextBudget& budget) {
  PORTOLAN_ASSIGN_OR_RETURN(const Scalar scalar, ScalarOf(value, what, budget));
  return Checked(scalar, what);
}

absl::StatusOr<std::vector<std::string>> TextList(const PyValue& value, std::string_view what,
                                                  TextBudget& budget) {
  PyValue objects = value;
  std::vector<std::string> texts;
  if (value.is(PyKind::kArray)) {
    PORTOLAN_ASSIGN_OR_RETURN(const Items items, OpenArray(value, 1, what, budget));
    if (items.kind != 'O') {
      for (size_t i = 0; i < items.count; ++i) {
        if (!budget.Spend(sizeof(std::string))) return Broken(what, "holds too many names");
        const auto scalar = LoadItem(items, i);
        if (!scalar.has_value()) {
          return Broken(what, absl::StrCat("is a numpy array of dtype ", std::string(1, items.kind),
                                           items.item_bytes, " that names nothing"));
        }
        PORTOLAN_ASSIGN_OR_RETURN(std::string text, Checked(*scalar, what));
        texts.push_back(std::move(text));
      }
      return texts;
    }
    objects = items.objects;
  }
  if (!objects.is(PyKind::kList) && !objects.is(PyKind::kTuple)) {
    return Broken(what, absl::StrCat("is ", KindName(value), ", not a list of names"));
  }
  for (size_t i = 0; i < objects.size(); ++i) {
    if (!budget.Spend(sizeof(std::string))) return Broken(what, "holds too many names");
    PORTOLAN_ASSIGN_OR_RETURN(std::string text, TextOf(objects.at(i), what, budget));
    texts.push_back(std::move(text));
  }
  return texts;
}

CategoryKind CategoryKindOf(const PyValue& value) {
  PyValue objects = value;
  if (value.is(PyKind::kArray)) {
    const PyValue dtype = value.at(ArrayField::kDType);
    const char kind = dtype.is(PyKind::kDType) ? dtype.dtype_kind() : 'O';
    if (kind == 'b') return CategoryKind::kBool;
    if (kind == 'i' || kind == 'u') return CategoryKind::kInteger;
    if (kind == 'f') return CategoryKind::kReal;
    if (kind != 'O') return CategoryKind::kText;
    objects = value.at(ArrayField::kPayload);
  }
  std::optional<CategoryKind> all;
  for (size_t i = 0; i < objects.size(); ++i) {
    const PyValue item = objects.at(i);
    const CategoryKind kind = BoolOf(item).has_value()     ? CategoryKind::kBool
                              : IntOf(item).has_value()    ? CategoryKind::kInteger
                              : NumberOf(item).has_value() ? CategoryKind::kReal
                                                           : CategoryKind::kText;
    if (kind == CategoryKind::kText || (all.has_value() && *all != kind)) {
      return CategoryKind::kText;
    }
    all = kind;
  }
  return all.value_or(CategoryKind::kText);
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    size_t more = 0;
    uint32_t point = first;
    if (first >= 0xf0 && first < 0xf8)
      more = 3, point = first & 7;
    else if (first >= 0xe0 && first < 0xf0)
      more = 2, point = first & 15;
    else if (first >= 0xc0 && first < 0xe0)
      more = 1, point = first & 31;
    else if (first >= 0x80)
      return false;
    if (more >= text.size() - i) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = (point << 6) | (next & 0x3f);
    }
    // Reject spellings longer than needed, surrogates, and numbers beyond Unicode.
    static constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (point < kLeast[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace portolan
