#include "core/archive/tensor_bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/field_error.h"
#include "tests/core/archive/pickle_builder.h"

namespace portolan {
namespace {

using testing::HasSubstr;

TensorBundle Example() {
  TensorBundle bundle;
  bundle.metadata = {{"batch", "donor 1"}, {"epoch", 7}, {"losses", {1.5, 0.25}}};
  bundle.tensors["b/columns"] = HostTensor::FromFloats({2, 2}, std::vector<float>{1, 2, 3, 4});
  bundle.tensors["a"] = HostTensor::FromFloats({1}, std::vector<float>{9});
  bundle.tensors["step"] = HostTensor::FromInts({}, std::vector<int64_t>{123});
  bundle.tensors["empty"] = HostTensor::FromFloats({0, 3}, {});
  return bundle;
}

std::string Raw(const std::string& header, const std::string& data) {
  return pickle::Little(header.size(), 8) + header + data;
}

std::string Error(const std::string& bytes) {
  const auto bundle = ParseBundle(bytes);
  if (bundle.ok()) return "(parsed)";
  EXPECT_EQ(GetFieldViolation(bundle.status())->field, "bundle");
  return std::string(bundle.status().message());
}

TEST(TensorBundleTest, RoundTrip) {
  const TensorBundle bundle = Example();
  const auto read = ParseBundle(SerializeBundle(bundle));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, bundle.metadata);
  ASSERT_EQ(read->tensors.size(), 4u);
  for (const auto& [name, tensor] : bundle.tensors) {
    const HostTensor& other = read->tensors.at(name);
    EXPECT_EQ(other.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(other.shape(), tensor.shape()) << name;
    ASSERT_EQ(other.size_bytes(), tensor.size_bytes()) << name;
    EXPECT_EQ(memcmp(other.data(), tensor.data(), tensor.size_bytes()), 0) << name;
  }
}

TEST(TensorBundleTest, TheSameBundleGivesTheSameBytes) {
  EXPECT_EQ(SerializeBundle(Example()), SerializeBundle(Example()));
  EXPECT_EQ(SerializeBundle(Example()), SerializeBundle(*ParseBundle(SerializeBundle(Example()))));
}

TEST(TensorBundleTest, LayoutIsThatOfSafetensors) {
  const std::string bytes = SerializeBundle(Example());
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<uint8_t>(bytes[i]);
  EXPECT_EQ(length % 8, 0u);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  EXPECT_TRUE(header["__metadata__"]["portolan"].is_string());
  EXPECT_EQ(header["step"]["dtype"], "I64");
  EXPECT_EQ(header["step"]["data_offsets"], (std::vector<int>{0, 8}));  // wide types first
  EXPECT_EQ(header["b/columns"]["dtype"], "F32");
  EXPECT_EQ(header["b/columns"]["shape"], (std::vector<int>{2, 2}));
}

TEST(TensorBundleTest, EmptyBundlesAndNeverFilledTensors) {
  const auto empty = ParseBundle(SerializeBundle({}));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->tensors.empty());
  EXPECT_TRUE(empty->metadata.is_object());
  TensorBundle bundle;
  bundle.tensors["none"] = HostTensor();
  const auto read = ParseBundle(SerializeBundle(bundle));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.at("none").elements(), 0);
}

TEST(TensorBundleTest, ForeignFilesNeedNoMetadataOfOurs) {
  const auto read = ParseBundle(Raw(
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})",
      "ab"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.at("w").dtype(), DType::kFloat16);
}

TEST(TensorBundleTest, MalformedBundlesAreErrors) {
  EXPECT_THAT(Error(""), HasSubstr("shorter than"));
  EXPECT_THAT(Error(std::string(8, '\xff')), HasSubstr("a header of"));
  EXPECT_THAT(Error(pickle::Little(3, 8) + "{}"), HasSubstr("a header of 3 bytes"));
  EXPECT_THAT(Error(Raw("[]", "")), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error(Raw("{", "")), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error(Raw(R"({"__metadata__":{"portolan":"["}})", "")), HasSubstr("metadata"));
  EXPECT_THAT(Error(Raw(R"({"__metadata__":3})", "")), HasSubstr("metadata"));
  EXPECT_THAT(Error(Raw("{}", "extra")), HasSubstr("take 0 of 5 bytes"));
}

TEST(TensorBundleTest, BrokenTensorsAreErrors) {
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return Error(Raw(R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape +
                         R"(,"data_offsets":)" + offsets + "}}",
                     "12345678"));
  };
  EXPECT_EQ(one("F32", "[2]", "[0,8]"), "(parsed)");
  EXPECT_THAT(one("F31", "[2]", "[0,8]"), HasSubstr("unknown dtype"));
  EXPECT_THAT(one("F32", "2", "[0,8]"), HasSubstr("broken shape"));
  EXPECT_THAT(one("F32", "[-2]", "[0,8]"), HasSubstr("broken shape"));
  EXPECT_THAT(one("F32", "[2.0]", "[0,8]"), HasSubstr("broken shape"));
  EXPECT_THAT(one("F32", "[9223372036854775807,4]", "[0,8]"), HasSubstr("impossible size"));
  EXPECT_THAT(one("F32", "[18446744073709551615]", "[0,8]"), HasSubstr("impossible size"));
  EXPECT_THAT(one("F32", "[2]", "[0,9]"), HasSubstr("takes the bytes"));
  EXPECT_THAT(one("F32", "[2]", "[8,0]"), HasSubstr("takes the bytes"));
  EXPECT_THAT(one("F32", "[1]", "[0,8]"), HasSubstr("takes the bytes"));
  EXPECT_THAT(one("F32", "[1]", "[4,8]"), HasSubstr("starts at byte 4"));
  EXPECT_THAT(one("F32", "[1]", "[0,4]"), HasSubstr("take 4 of 8"));
  EXPECT_THAT(one("F32", "[2]", "[0]"), HasSubstr("broken data_offsets"));
  EXPECT_THAT(Error(Raw(R"({"w":{"dtype":"F32"}})", "")), HasSubstr("not described"));
  EXPECT_THAT(Error(Raw(R"({"w":3})", "")), HasSubstr("not described"));
}

TEST(TensorBundleTest, OverlapAndRepetitionAreErrors) {
  const std::string w = R"({"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  EXPECT_THAT(Error(Raw("{\"a\":" + w + ",\"b\":" + w + "}", "12")), HasSubstr("starts at byte 0"));
  EXPECT_THAT(Error(Raw("{\"a\":" + w + ",\"a\":" + w + "}", "12")), HasSubstr("twice"));
}

TEST(TensorBundleTest, EveryTruncationIsAnError) {
  const std::string bytes = SerializeBundle(Example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseBundle(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

TEST(TensorBundleTest, ChangedBytesNeverHarm) {
  const std::string bytes = SerializeBundle(Example());
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {0x01, 0x04, 0x20, 0x80}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto bundle = ParseBundle(changed);
      if (bundle.ok()) {
        EXPECT_LE(bundle->tensors.size(), 4u);
      }
    }
  }
}

TEST(TensorBundleTest, DeepHeadersDoNotOverflowTheStack) {
  EXPECT_THAT(Error(Raw(std::string(1'000'000, '['), "")), HasSubstr("not a JSON object"));
}

}  // namespace
}  // namespace portolan
