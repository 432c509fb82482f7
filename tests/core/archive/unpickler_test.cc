#include "core/archive/unpickler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "core/archive/pickle_calls.h"
#include "core/base/field_error.h"
#include "tests/core/archive/pickle_builder.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::HasSubstr;

absl::StatusOr<PyDocument> Read(const std::string& bytes, const ArchiveLimits& limits = {}) {
  return Unpickle(SharedBytes::CopyOf(bytes), 0, limits);
}

/// Reads a pickle whose root the body pushes; fails the test if it cannot.
PyDocument Load(const std::string& body, char protocol = 2) {
  auto document = Read(p::Document(body, protocol));
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? *std::move(document) : PyDocument{};
}

std::string Error(const std::string& body, const ArchiveLimits& limits = {}) {
  const auto document = Read(p::Document(body), limits);
  if (document.ok()) return "(read)";
  EXPECT_EQ(GetFieldViolation(document.status())->field, "model.pt");
  return std::string(document.status().message());
}

TEST(UnpicklerTest, Numbers) {
  EXPECT_TRUE(Load("N").root.is_none());
  EXPECT_EQ(Load("\x88").root.Bool(), true);
  EXPECT_EQ(Load("\x89").root.Bool(), false);
  EXPECT_EQ(Load(std::string("K\xff")).root.Int(), 255);
  EXPECT_EQ(Load(std::string("M\xff\xff")).root.Int(), 65535);
  EXPECT_EQ(Load(p::Int(-7)).root.Int(), -7);
  EXPECT_EQ(Load(p::Int(INT64_MIN)).root.Int(), INT64_MIN);
  EXPECT_EQ(Load(p::Float(-0.25)).root.Number(), -0.25);
}

TEST(UnpicklerTest, LongIntegers) {
  using std::string_literals::operator""s;
  EXPECT_EQ(Load("\x8a\x00"s).root.Int(), 0);
  EXPECT_EQ(Load("\x8a\x01\xff"s).root.Int(), -1);
  EXPECT_EQ(Load("\x8a\x02\x00\x80"s).root.Int(), -32768);
  EXPECT_EQ(Load("\x8b\x03\x00\x00\x00\x01\x02\x03"s).root.Int(), 0x030201);
  // 2**63 - 1 with a superfluous sign byte, 2**63, -2**64.
  EXPECT_EQ(Load("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00"s).root.Int(), INT64_MAX);
  EXPECT_TRUE(Load("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00"s).root.is(PyKind::kBigInt));
  EXPECT_TRUE(Load("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xff"s).root.is(PyKind::kBigInt));
}

TEST(UnpicklerTest, Texts) {
  EXPECT_EQ(Load(p::Str("gr\xc3\xbc\xc3\x9f")).root.Str(), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(Load("\x8c\x02hi", 4).root.Str(), "hi");
  EXPECT_EQ(Load(p::Join({"\x8d", p::Little(2, 8), "hi"}), 4).root.Str(), "hi");
  EXPECT_EQ(Load("U\x02hi").root.Str(), "hi");
  EXPECT_EQ(Load(p::Join({"T", p::Little(2, 4), "hi"})).root.Str(), "hi");
  EXPECT_EQ(Load("C\x02hi", 3).root.Bytes(), "hi");
  EXPECT_EQ(Load(p::Bytes("hi"), 3).root.Bytes(), "hi");
  EXPECT_EQ(Load(p::Join({"\x8e", p::Little(2, 8), "hi"}), 4).root.Bytes(), "hi");
  EXPECT_EQ(Load(p::Join({"\x96", p::Little(2, 8), "hi"}), 5).root.Bytes(), "hi");
}

TEST(UnpicklerTest, BytesThroughCodecs) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_EQ(Load(p::Latin1Bytes(all)).root.Bytes(), all);
  EXPECT_EQ(Load(p::Call(p::Global("__builtin__", "bytes"), {})).root.Bytes(), "");
  EXPECT_EQ(Load(p::Call(p::Global("builtins", "bytearray"), {p::Str("ab"), p::Str("latin-1")}))
                .root.Bytes(),
            "ab");
  // Characters beyond latin-1 have no bytes.
  EXPECT_EQ(
      Load(p::Call(p::Global("_codecs", "encode"), {p::Str("\xe2\x82\xac"), p::Str("latin1")}))
          .root.Bytes(),
      std::nullopt);
}

TEST(UnpicklerTest, Containers) {
  EXPECT_EQ(Load(p::Tuple({p::Int(1), p::Int(2), p::Int(3), p::Int(4)})).root.size(), 4u);
  EXPECT_EQ(Load(")").root.size(), 0u);
  EXPECT_EQ(Load("K\x01\x85").root.at(0).Int(), 1);
  EXPECT_EQ(Load("K\x01K\x02\x86").root.at(1).Int(), 2);
  EXPECT_EQ(Load("K\x01K\x02K\x03\x87").root.at(2).Int(), 3);
  EXPECT_EQ(Load("]K\x05"
                 "a")
                .root.at(0)
                .Int(),
            5);
  EXPECT_EQ(Load(p::List({p::Int(7), p::Int(8)})).root.at(1).Int(), 8);
  EXPECT_EQ(Load("(K\x01K\x02l").root.size(), 2u);
  EXPECT_TRUE(Load("\x8f(K\x01K\x02\x90", 4).root.is(PyKind::kSet));
  EXPECT_EQ(Load("(K\x01K\x02\x91", 4).root.size(), 2u);
  EXPECT_EQ(Load(p::Join({"}", p::Str("a"), "K\x01s"})).root.Get("a").Int(), 1);
  EXPECT_EQ(Load(p::Join({"(", p::Str("a"),
                          "K\x01"
                          "d"}))
                .root.Get("a")
                .Int(),
            1);
  EXPECT_EQ(Load(p::Call(p::Global("__builtin__", "set"), {p::List({p::Int(1)})})).root.size(), 1u);
}

TEST(UnpicklerTest, TheLastOfEqualKeysWins) {
  const PyDocument document =
      Load(p::Dict({{p::Str("a"), p::Int(1)}, {p::Str("b"), p::Int(2)}, {p::Str("a"), p::Int(3)}}));
  EXPECT_EQ(document.root.Get("a").Int(), 3);
  EXPECT_TRUE(document.root.Has("b"));
  EXPECT_FALSE(document.root.Has("c"));
  EXPECT_TRUE(document.root.Get("c").is_none());
}

TEST(UnpicklerTest, OrderedAndDefaultDicts) {
  EXPECT_EQ(Load(p::OrderedDict({{p::Str("a"), p::Int(1)}})).root.Get("a").Int(), 1);
  // As Python 2 writes it: the pairs as an argument.
  EXPECT_EQ(Load(p::Call(p::Global("collections", "OrderedDict"),
                         {p::List({p::List({p::Str("a"), p::Int(1)})})}))
                .root.Get("a")
                .Int(),
            1);
  const std::string defaults =
      p::Call(p::Global("collections", "defaultdict"), {p::Global("__builtin__", "dict")}) +
      p::Fill({{p::Str("a"), p::Int(1)}});
  EXPECT_EQ(Load(defaults).root.Get("a").Int(), 1);
}

TEST(UnpicklerTest, MemoAndStackOpcodes) {
  EXPECT_EQ(Load(p::Str("x") + "q\x05" + "0h\x05").root.Str(), "x");
  EXPECT_EQ(Load(p::Str("x") + "r" + p::Little(5, 4) + "0j" + p::Little(5, 4)).root.Str(), "x");
  // MEMOIZE numbers from 0.
  EXPECT_EQ(Load(p::Str("x") + "\x94" + p::Str("y") + "\x94" + "00h" + std::string(1, '\0'), 4)
                .root.Str(),
            "x");
  EXPECT_EQ(Load("K\x01"
                 "2\x86")
                .root.at(1)
                .Int(),
            1);
  EXPECT_EQ(Load("K\x01(K\x02K\x03"
                 "1")
                .root.Int(),
            1);
  EXPECT_EQ(Load("K\x01(0").root.Int(), 1);
  EXPECT_EQ(Load(p::Join({"\x95", p::Little(2, 8), "K\x01"}), 4).root.Int(), 1);
}

TEST(UnpicklerTest, UnknownClassesAreRecords) {
  const std::string module = "pandas.core.indexes.numeric";
  const PyDocument document =
      Load(p::Build(p::Call(p::Global(module, "Int64Index"), {p::Int(3)}), p::Str("state")));
  ASSERT_TRUE(document.root.is(PyKind::kRecord));
  EXPECT_TRUE(document.root.at(RecordField::kCallable).IsGlobal(module, "Int64Index"));
  EXPECT_EQ(document.root.at(RecordField::kArguments).at(0).Int(), 3);
  EXPECT_EQ(document.root.at(RecordField::kState).Str(), "state");
  EXPECT_EQ(KindName(document.root), "an object of 'pandas.core.indexes.numeric' 'Int64Index'");

  const std::string made = p::Global("a", "b") + ")\x81";
  EXPECT_TRUE(Load(made).root.is(PyKind::kRecord));
  const PyDocument filled =
      Load(made + p::Fill({{p::Str("k"), p::Int(1)}}) + "(" + p::Int(5) + "e");
  EXPECT_EQ(filled.root.at(RecordField::kPairs).Get("k").Int(), 1);
  EXPECT_EQ(filled.root.at(RecordField::kItems).at(0).Int(), 5);
  EXPECT_TRUE(Load(p::Global("a", "b") + ")}\x92", 4).root.is(PyKind::kRecord));
  EXPECT_TRUE(Load(p::Str("a") + p::Str("b") + "\x93", 4).root.IsGlobal("a", "b"));
}

TEST(UnpicklerTest, CallsOfAnyNameExecuteNothing) {
  const PyDocument document = Load(p::Call(p::Global("posix", "system"), {p::Str("exit 1")}));
  EXPECT_TRUE(document.root.is(PyKind::kRecord));
  // A known name with arguments that its pickler would not write is no more than a record either.
  EXPECT_TRUE(Load(p::Call(p::Global("torch._utils", "_rebuild_tensor_v2"), {p::Int(1)}))
                  .root.is(PyKind::kRecord));
  EXPECT_TRUE(Load(p::Call(p::Global("numpy", "dtype"), {p::Str("f99999999999")}))
                  .root.is(PyKind::kRecord));
}

TEST(UnpicklerTest, TorchValues) {
  const std::string storage = p::Storage("FloatStorage", "7", 12, "cuda:1");
  const std::string tensor = p::Tensor(storage, 2, {2, 3}, {3, 1});
  const PyDocument document = Load(tensor);
  ASSERT_TRUE(document.root.is(PyKind::kTensor));
  EXPECT_EQ(document.root.at(TensorField::kStorage).at(StorageField::kKey).Str(), "7");
  EXPECT_EQ(document.root.at(TensorField::kOffset).Int(), 2);
  EXPECT_TRUE(Load(p::Call(p::Global("torch._utils", "_rebuild_parameter"),
                           {tensor, p::Bool(true), p::OrderedDict({})}))
                  .root.is(PyKind::kTensor));
  EXPECT_EQ(Load(p::Call(p::Global("torch", "Size"), {p::List({p::Int(4)})})).root.at(0).Int(), 4);
}

TEST(UnpicklerTest, ErrorsNameTheOffset) {
  const auto document = Unpickle(SharedBytes::CopyOf("\x80\x02K\x01\xfe."), 1000, {});
  EXPECT_THAT(document.status().message(), HasSubstr("opcode 0xfe"));
  EXPECT_THAT(document.status().message(), HasSubstr("at byte offset 1004"));
}

TEST(UnpicklerTest, BrokenPicklesAreErrors) {
  EXPECT_THAT(Error(""), HasSubstr("stack is empty"));
  EXPECT_THAT(Error("\x85"), HasSubstr("stack is empty"));
  EXPECT_THAT(Error("(\x85"), HasSubstr("stack is empty"));  // nothing above the mark
  EXPECT_THAT(Error("t"), HasSubstr("mark is missing"));
  EXPECT_THAT(Error("h\x03"), HasSubstr("memo 3 is not set"));
  EXPECT_THAT(Error("Nr\xff\xff\xff\xff"), HasSubstr("memo number"));
  EXPECT_THAT(Error("NNa"), HasSubstr("appends to None"));
  EXPECT_THAT(Error("]NNs"), HasSubstr("sets items of a list"));
  EXPECT_THAT(Error("}(Nu"), HasSubstr("key without a value"));
  EXPECT_THAT(Error("NN\x93"), HasSubstr("not named by two texts"));
  EXPECT_THAT(Error("cno_line"), HasSubstr("line has no end"));
  EXPECT_THAT(Error("X\xff\xff\xff\xff"), HasSubstr("needs 4294967295 bytes"));
  EXPECT_THAT(Error("\x8b\xff\xff\xff\xff"), HasSubstr("needs 4294967295 bytes"));
  EXPECT_THAT(Error(p::Join({"\x8d", std::string(8, '\xff')})),
              HasSubstr("needs 18446744073709551615"));
  EXPECT_THAT(Error(p::Join({"\x95", std::string(8, '\xff')})), HasSubstr("frame runs over"));
  EXPECT_THAT(Error("\x80\x06"), HasSubstr("protocol 6"));
  EXPECT_THAT(Error("\x82\x01"), HasSubstr("opcode 0x82"));  // an extension code
  EXPECT_FALSE(Read("\x80\x02N").ok());                      // no STOP
}

TEST(UnpicklerTest, DepthIsBounded) {
  ArchiveLimits limits;
  limits.max_depth = 50;
  EXPECT_EQ(Error(std::string(49, ']') + std::string(48, 'a'), limits), "(read)");
  EXPECT_THAT(Error(std::string(60, ']') + std::string(59, 'a'), limits), HasSubstr("deeper than"));
  EXPECT_THAT(Error(p::Join({"N", std::string(60, '\x85')}), limits), HasSubstr("deeper than"));
  EXPECT_THAT(Error(std::string(60, '('), limits), HasSubstr("nest too deep"));
  // A million levels must not overflow anybody's stack either.
  EXPECT_THAT(Error(p::Join({"N", std::string(1'000'000, '\x85')})), HasSubstr("deeper than"));
}

TEST(UnpicklerTest, ObjectsAreBounded) {
  ArchiveLimits limits;
  limits.max_objects = 1000;
  EXPECT_THAT(Error(std::string(2000, ']'), limits), HasSubstr("more than the limit of 1000"));
  EXPECT_THAT(Error(std::string(2000, 'N'), limits), HasSubstr("more than the limit of 1000"));
  limits.max_pickle_bytes = 10;
  EXPECT_THAT(Error(std::string(20, 'N'), limits), HasSubstr("exceeds the limit of 10"));
}

TEST(UnpicklerTest, CopiesOfSharedListsAreBounded) {
  // A list of 500 items, copied by every set(list) of a few bytes.
  std::string body =
      p::List(p::Parts(500, "N")) + "q\x01" + p::Global("__builtin__", "set") + "q\x02";
  for (int i = 0; i < 100; ++i) body += "h\x02h\x01\x85R";
  ArchiveLimits limits;
  limits.max_objects = 10'000;
  EXPECT_THAT(Error(body, limits), HasSubstr("more than the limit"));
}

TEST(UnpicklerTest, DoublingThroughTheMemoCostsNothing) {
  // Each list holds the one before twice: 2^60 leaves in Python's eyes.
  std::string body = "]q" + std::string(1, '\0');
  for (int i = 1; i <= 60; ++i) {
    const char before = static_cast<char>(i - 1);
    body += std::string("](h") + before + "h" + before + "eq" + static_cast<char>(i);
  }
  const PyDocument document = Load(body);
  EXPECT_EQ(document.root.size(), 2u);
  EXPECT_EQ(document.root.depth(), 61);
}

TEST(UnpicklerTest, CyclesAreHarmless) {
  const PyDocument list = Load(std::string("]q\x01(h\x01h\x01") + "e");
  EXPECT_EQ(list.root.at(0).id(), list.root.id());
  const PyDocument dict = Load("}q\x01" + p::Str("self") + "h\x01s");
  EXPECT_EQ(dict.root.Get("self").Get("self").id(), dict.root.id());
  // A list that holds a tuple that holds the list.
  const PyDocument mixed = Load(
      "]q\x01h\x01\x85"
      "a");
  EXPECT_EQ(mixed.root.at(0).at(0).id(), mixed.root.id());
}

TEST(UnpicklerTest, EveryTruncationIsAnError) {
  const std::string bytes = p::Document(
      p::Dict({{p::Str("a"), p::Int64Array({1, 2})}, {p::Str("b"), p::OrderedDict({})}}));
  ASSERT_TRUE(Read(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Read(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(UnpicklerTest, ChangedBytesNeverHarm) {
  const std::string bytes = p::Document(
      p::Dict({{p::Str("a"), p::Int64Array({1, 2})},
               {p::Str("b"), p::Tensor(p::Storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1})},
               {p::Str("c"), p::Build(p::Global("a", "b") + ")\x81", p::List({p::Float(1)}))}}));
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto document = Read(changed);
      if (document.ok()) {
        EXPECT_LE(document->objects->cost(), 1000);
      }
    }
  }
}

}  // namespace
}  // namespace portolan
