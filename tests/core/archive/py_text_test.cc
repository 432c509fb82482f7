#include "core/archive/py_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/archive/unpickler.h"
#include "tests/core/archive/pickle_builder.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::ElementsAre;
using testing::HasSubstr;

using Texts = std::vector<std::string>;

PyDocument Load(const std::string& body) {
  auto document = Unpickle(SharedBytes::CopyOf(p::Document(body)), 0, {});
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? *std::move(document) : PyDocument{};
}

absl::StatusOr<Texts> List(const std::string& body, int64_t budget = 1 << 20) {
  const PyDocument document = Load(body);
  TextBudget left{budget};
  return TextList(document.root, "the names", left);
}

Texts Names(const std::string& body) {
  const auto texts = List(body);
  return texts.ok() ? *texts : Texts{texts.status().ToString()};
}

std::string Raw(const std::string& dtype, std::string_view order, const std::string& raw,
                int64_t count) {
  return p::Array({p::Int(count)}, p::DType(dtype, order), p::Latin1Bytes(raw));
}

std::string Big(uint64_t value, size_t width) {
  const std::string bytes = p::Little(value, width);
  return std::string(bytes.rbegin(), bytes.rend());
}

TEST(PyTextTest, ListsTuplesAndObjectArrays) {
  EXPECT_THAT(Names(p::StrList({"a", "b"})), ElementsAre("a", "b"));
  EXPECT_THAT(Names(p::Tuple({p::Str("a")})), ElementsAre("a"));
  EXPECT_THAT(Names(p::StrArray({"x y", "gr\xc3\xbcn"})), ElementsAre("x y", "gr\xc3\xbcn"));
  EXPECT_THAT(Names(p::StrArray({})), ElementsAre());
  EXPECT_THAT(Names(p::Array({p::Int(1)}, p::DType("O8", "|"), p::StrList({"a"}),
                             "numpy._core.multiarray")),
              ElementsAre("a"));
}

TEST(PyTextTest, MixedObjectsAreSpelledLikePython) {
  EXPECT_THAT(Names(p::List({p::Int(-3), p::Float(1), p::Bool(true), p::Str("s")})),
              ElementsAre("-3", "1.0", "True", "s"));
  const std::string scalar = p::Call(p::Global("numpy.core.multiarray", "scalar"),
                                     {p::DType("i8", "<"), p::Latin1Bytes(p::Little(42, 8))});
  EXPECT_THAT(Names(p::List({scalar})), ElementsAre("42"));
}

TEST(PyTextTest, NumericArrays) {
  EXPECT_THAT(Names(p::Int64Array({0, -1, 7})), ElementsAre("0", "-1", "7"));
  EXPECT_THAT(Names(Raw("i8", ">", Big(5, 8), 1)), ElementsAre("5"));
  EXPECT_THAT(Names(Raw("i4", "<", p::Little(0xffffffff, 4), 1)), ElementsAre("-1"));
  EXPECT_THAT(Names(Raw("i2", ">", Big(0x8000, 2), 1)), ElementsAre("-32768"));
  EXPECT_THAT(Names(Raw("i1", "|", "\xff", 1)), ElementsAre("-1"));
  EXPECT_THAT(Names(Raw("u1", "|", "\xff", 1)), ElementsAre("255"));
  EXPECT_THAT(Names(Raw("u8", "<", std::string(8, '\xff'), 1)),
              ElementsAre("18446744073709551615"));
  EXPECT_THAT(Names(Raw("b1", "|", std::string("\x01\x00", 2), 2)), ElementsAre("True", "False"));
  const auto bits = std::bit_cast<uint64_t>(0.1);
  EXPECT_THAT(Names(Raw("f8", "<", p::Little(bits, 8), 1)), ElementsAre("0.1"));
  EXPECT_THAT(Names(Raw("f8", ">", Big(bits, 8), 1)), ElementsAre("0.1"));
  EXPECT_THAT(Names(Raw("f4", "<", p::Little(std::bit_cast<uint32_t>(0.1f), 4), 1)),
              ElementsAre("0.1"));
}

TEST(PyTextTest, FixedWidthTextArrays) {
  std::string wide;
  for (const uint32_t unit : {0x61, 0xfc, 0, 0x1f600, 0, 0}) wide += p::Little(unit, 4);
  EXPECT_THAT(Names(Raw("U3", "<", wide, 2)), ElementsAre("a\xc3\xbc", "\xf0\x9f\x98\x80"));
  EXPECT_THAT(Names(Raw("U1", ">", Big(0x62, 4), 1)), ElementsAre("b"));
  EXPECT_THAT(Names(Raw("S3", "|", std::string("ab\0xyz", 6), 2)), ElementsAre("ab", "xyz"));
  EXPECT_THAT(List(Raw("U1", "<", p::Little(0xd800, 4), 1)).status().message(),
              HasSubstr("names nothing"));
  EXPECT_THAT(List(Raw("U1", "<", p::Little(0x110000, 4), 1)).status().message(),
              HasSubstr("names nothing"));
  EXPECT_THAT(List(Raw("S1", "|", "\xff", 1)).status().message(), HasSubstr("broken text"));
}

TEST(PyTextTest, ArraysOfProtocol5) {
  const std::string array =
      p::Call(p::Global("numpy.core.numeric", "_frombuffer"),
              {p::Bytes(p::Little(9, 8)), p::DType("i8", "<"), p::Tuple({p::Int(1)}), p::Str("C")});
  EXPECT_THAT(Names(array), ElementsAre("9"));
}

TEST(PyTextTest, SizesThatDoNotFitAreErrors) {
  const auto fails = [](const std::string& body) {
    return std::string(List(body).status().message());
  };
  EXPECT_THAT(fails(Raw("i8", "<", p::Little(1, 8), 2)), HasSubstr("does not fit its shape"));
  EXPECT_THAT(fails(Raw("i8", "<", "", INT64_MAX)), HasSubstr("does not fit its shape"));
  EXPECT_THAT(fails(Raw("U0", "<", "", INT64_MAX)), HasSubstr("does not fit its shape"));
  EXPECT_THAT(fails(Raw("i8", "<", "", -1)), HasSubstr("unusual type or shape"));
  EXPECT_THAT(
      fails(p::Array({p::Int(1), p::Int(1)}, p::DType("i8", "<"), p::Latin1Bytes(p::Little(1, 8)))),
      HasSubstr("unusual type or shape"));
  EXPECT_THAT(fails(p::Array({p::Int(2)}, p::DType("O8", "|"), p::StrList({"a"}))),
              HasSubstr("does not fit its shape"));
  EXPECT_THAT(fails(Raw("M8", "<", p::Little(1, 8), 1)), HasSubstr("names nothing"));
  EXPECT_THAT(fails(p::Int(3)), HasSubstr("is an int, not a list"));
  EXPECT_THAT(fails(p::List({p::List({})})), HasSubstr("holds a list"));
  EXPECT_THAT(fails(p::List({p::None()})), HasSubstr("holds None"));
  EXPECT_THAT(fails(p::List({p::Str("\xff")})), HasSubstr("broken text"));
}

TEST(PyTextTest, SharedTextsSpendTheBudgetEachTime) {
  std::string body = p::Str(std::string(1000, 'x')) + "q\x01" + "0](";
  for (int i = 0; i < 100; ++i) body += "h\x01";
  EXPECT_TRUE(List(body + "e", 1 << 20).ok());
  EXPECT_THAT(List(body + "e", 50'000).status().message(), HasSubstr("more text than"));
  EXPECT_FALSE(List(Raw("b1", "|", std::string(1000, '\0'), 1000), 2000).ok());
}

TEST(PyTextTest, FloatsAreSpelledLikePython) {
  EXPECT_EQ(SpellFloat(0.0), "0.0");
  EXPECT_EQ(SpellFloat(-0.0), "-0.0");
  EXPECT_EQ(SpellFloat(1.0), "1.0");
  EXPECT_EQ(SpellFloat(-12.5), "-12.5");
  EXPECT_EQ(SpellFloat(0.0001), "0.0001");
  EXPECT_EQ(SpellFloat(0.00001), "1e-05");
  EXPECT_EQ(SpellFloat(123456.789), "123456.789");
  EXPECT_EQ(SpellFloat(1e15), "1000000000000000.0");
  EXPECT_EQ(SpellFloat(1e16), "1e+16");
  EXPECT_EQ(SpellFloat(1.5e300), "1.5e+300");
  EXPECT_EQ(SpellFloat(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(SpellFloat(123456789.0f), "123456790.0");
  EXPECT_EQ(SpellFloat(std::nan("")), "nan");
  EXPECT_EQ(SpellFloat(-std::numeric_limits<double>::infinity()), "-inf");
}

TEST(PyTextTest, Scalars) {
  EXPECT_EQ(IntOf(Load(p::Int(3)).root), 3);
  EXPECT_EQ(IntOf(Load(p::Float(3)).root), std::nullopt);
  EXPECT_EQ(NumberOf(Load(p::Int(3)).root), 3.0);
  EXPECT_EQ(BoolOf(Load(p::Bool(true)).root), true);
  EXPECT_EQ(BoolOf(Load(p::Int(1)).root), std::nullopt);
  const std::string scalar =
      p::Call(p::Global("numpy._core.multiarray", "scalar"),
              {p::DType("f8", "<"), p::Latin1Bytes(p::Little(std::bit_cast<uint64_t>(0.5), 8))});
  EXPECT_EQ(NumberOf(Load(scalar).root), 0.5);
}

TEST(PyTextTest, Utf8) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"));
  for (const char* broken : {"\x80", "\xc3", "\xc3(", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                             "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(broken)) << broken;
  }
}

}  // namespace
}  // namespace portolan
