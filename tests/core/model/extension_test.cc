#include "core/model/extension.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::ElementsAre;

Extension Small() {
  Extension extension;
  extension.batches = {"donor 1", "d\xc3\xa9j\xc3\xa0 vu", "\"quoted\"/slash\n"};
  extension.columns["z.weight"] =
      HostTensor::FromFloats({3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6});
  extension.columns["px_r"] = HostTensor::FromFloats({3, 1}, std::vector<float>{7, 8, 9});
  return extension;
}

void ExpectEqual(const Extension& a, const Extension& b) {
  EXPECT_EQ(a.batches, b.batches);
  EXPECT_EQ(a.reasons, b.reasons);
  for (const auto& [one, other] :
       {std::pair{&a.columns, &b.columns}, std::pair{&a.replaced, &b.replaced}}) {
    ASSERT_EQ(one->size(), other->size());
    for (const auto& [key, tensor] : *one) {
      ASSERT_TRUE(other->contains(key)) << key;
      const HostTensor& same = other->at(key);
      EXPECT_EQ(tensor.shape(), same.shape());
      EXPECT_TRUE(std::equal(tensor.floats().begin(), tensor.floats().end(), same.floats().begin(),
                             same.floats().end()));
    }
  }
}

absl::StatusOr<Extension> FromBytes(const std::string& bytes) {
  const auto bundle = ParseBundle(bytes);
  if (!bundle.ok()) return bundle.status();
  return ExtensionFromBundle(*bundle);
}

TEST(ExtensionTest, AnAdapterComesBackAsItWas) {
  const Extension adapter = Small();
  const Extension back = FromBytes(BytesOf(adapter)).value();
  ExpectEqual(adapter, back);
  EXPECT_TRUE(back.is_adapter());
  EXPECT_EQ(BytesOf(adapter), BytesOf(back));
}

TEST(ExtensionTest, AFullDeltaComesBackAsItWas) {
  Extension delta = Small();
  delta.replaced["bn.weight"] = HostTensor::FromFloats({2}, std::vector<float>{0.5f, -0.0f});
  delta.replaced[BatchColumnsKey("z.weight")] = HostTensor::FromFloats({0, 2}, {});
  delta.reasons = {"batch norm of decoder trained"};
  const Extension back = FromBytes(BytesOf(delta)).value();
  ExpectEqual(delta, back);
  EXPECT_FALSE(back.is_adapter());
}

TEST(ExtensionTest, AnEmptyExtensionComesBack) { ExpectEqual({}, FromBytes(BytesOf({})).value()); }

TEST(ExtensionTest, BatchColumnsHaveAKeyOfTheirOwn) {
  EXPECT_NE(BatchColumnsKey("z.weight"), "z.weight");
}

void ExpectDamaged(const TensorBundle& bundle) {
  const absl::Status status = ExtensionFromBundle(bundle).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(GetFieldViolation(status).has_value()) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "extension");
}

TEST(ExtensionTest, MetadataThatAreNoExtensionsAreRefused) {
  const nlohmann::json wrong[] = {nullptr, "text", 3, nlohmann::json::object(), {1, 2}, {"a", 1}};
  for (const nlohmann::json& value : wrong) {
    for (const char* field : {"format", "batches", "reasons"}) {
      TensorBundle bundle = ToBundle(Small());
      bundle.metadata[field] = value;
      ExpectDamaged(bundle);
    }
  }
  for (const char* field : {"format", "batches", "reasons"}) {
    TensorBundle bundle = ToBundle(Small());
    bundle.metadata.erase(field);
    ExpectDamaged(bundle);
  }
}

TEST(ExtensionTest, UnknownTensorsAreRefused) {
  TensorBundle bundle = ToBundle(Small());
  bundle.tensors["value/z.weight"] = HostTensor::FromFloats({1}, std::vector<float>{1});
  ExpectDamaged(bundle);
}

TEST(ExtensionTest, TruncatedBytesAreRefused) {
  const std::string bytes = BytesOf(Small());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(FromBytes(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(FromBytes(bytes + '\0').ok());
}

TEST(ExtensionTest, AnyChangedByteIsAnErrorOrAnotherExtensionNeverACrash) {
  const std::string bytes = BytesOf(Small());
  const auto model = LoadVariant("scvi_poisson");
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      const auto extension = FromBytes(damaged);
      EXPECT_FALSE(extension.ok() && model->Extend(*extension).ok()) << "byte " << i;
    }
  }
}

TEST(ComposeTest, BatchesStandInTheOrderGiven) {
  Extension a;
  a.batches = {"a1", "a2"};
  a.columns["w"] = HostTensor::FromFloats({2, 2}, std::vector<float>{1, 2, 3, 4});
  Extension b;
  b.batches = {"b"};
  b.columns["w"] = HostTensor::FromFloats({1, 2}, std::vector<float>{5, 6});
  const Extension ab = Compose({a, b});
  EXPECT_THAT(ab.batches, ElementsAre("a1", "a2", "b"));
  EXPECT_EQ(ab.columns.at("w").shape(), (std::vector<int64_t>{3, 2}));
  EXPECT_THAT(ab.columns.at("w").floats(), ElementsAre(1, 2, 3, 4, 5, 6));
  const Extension ba = Compose({b, a});
  EXPECT_THAT(ba.batches, ElementsAre("b", "a1", "a2"));
  EXPECT_THAT(ba.columns.at("w").floats(), ElementsAre(5, 6, 1, 2, 3, 4));
  EXPECT_EQ(BytesOf(Compose({a})), BytesOf(a));
  EXPECT_TRUE(ab.is_adapter());
}

}  // namespace
}  // namespace portolan
