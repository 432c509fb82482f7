#include "core/archive/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/core/archive/pickle_builder.h"
#include "tests/core/archive/zip_builder.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::ElementsAre;
using testing::HasSubstr;

using Shape = std::vector<int64_t>;

std::string Floats(const std::vector<float>& values) {
  std::string raw;
  for (const float value : values) raw += p::Little(std::bit_cast<uint32_t>(value), 4);
  return raw;
}

std::string File(const std::string& root, const std::string& storage,
                 const std::string& byte_order = "little", bool deflate = false) {
  return BuildZip({{"m/data.pkl", p::Document(root)},
                   {"m/byteorder", byte_order},
                   {"m/data/0", storage, deflate}});
}

absl::StatusOr<HostTensor> ReadRoot(const std::string& file, const ArchiveLimits& limits = {}) {
  auto torch_file = TorchFile::Parse(SharedBytes::CopyOf(file), limits);
  if (!torch_file.ok()) return torch_file.status();
  return torch_file->ReadModelTensor(torch_file->root(), "weight");
}

std::vector<float> Values(const absl::StatusOr<HostTensor>& tensor) {
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  EXPECT_EQ(tensor->dtype(), DType::kFloat32);
  return {tensor->floats().begin(), tensor->floats().end()};
}

std::string Error(const std::string& file) {
  const auto tensor = ReadRoot(file);
  return tensor.ok() ? "(read)" : std::string(tensor.status().message());
}

/// A tensor over 6 floats 0, 1, ..., 5.
std::string SixFloats(int64_t offset, const Shape& shape, const Shape& stride,
                      bool deflate = false) {
  return File(p::Tensor(p::Storage("FloatStorage", "0", 6), offset, shape, stride),
              Floats({0, 1, 2, 3, 4, 5}), "little", deflate);
}

TEST(TorchFileTest, DenseTensorsShareTheFile) {
  const SharedBytes file = SharedBytes::CopyOf(SixFloats(0, {2, 3}, {3, 1}));
  auto torch_file = TorchFile::Parse(file, {});
  ASSERT_TRUE(torch_file.ok()) << torch_file.status();
  const auto tensor = torch_file->ReadTensor(torch_file->root(), "weight");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->shape(), (Shape{2, 3}));
  EXPECT_GE(tensor->data(), file.data());
  EXPECT_LT(tensor->data(), file.data() + file.size());
}

TEST(TorchFileTest, TensorsOutliveTheFile) {
  HostTensor tensor;
  {
    auto torch_file = TorchFile::Parse(SharedBytes::CopyOf(SixFloats(0, {6}, {1})), {});
    ASSERT_TRUE(torch_file.ok());
    tensor = *torch_file->ReadTensor(torch_file->root(), "weight");
  }
  EXPECT_EQ(tensor.floats()[5], 5.0f);
}

TEST(TorchFileTest, HonoursOffsetAndStride) {
  EXPECT_THAT(Values(ReadRoot(SixFloats(2, {2}, {1}))), ElementsAre(2, 3));
  EXPECT_THAT(Values(ReadRoot(SixFloats(0, {3, 2}, {1, 3}))), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(Values(ReadRoot(SixFloats(1, {2, 2}, {2, 1}))), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Values(ReadRoot(SixFloats(4, {3}, {0}))), ElementsAre(4, 4, 4));
  EXPECT_THAT(Values(ReadRoot(SixFloats(5, {}, {}))), ElementsAre(5));
  EXPECT_THAT(Values(ReadRoot(SixFloats(0, {0, 4}, {4, 1}))), ElementsAre());
  // The stride along an extent of 1 means nothing, whatever it is.
  EXPECT_THAT(Values(ReadRoot(SixFloats(0, {1, 2}, {INT64_MAX, 3}))), ElementsAre(0, 3));
}

TEST(TorchFileTest, ReadsDeflatedStorages) {
  EXPECT_THAT(Values(ReadRoot(SixFloats(0, {6}, {1}, true))), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(TorchFileTest, BigEndianFiles) {
  const std::string raw = Floats({1.5f});
  const auto tensor = ReadRoot(File(p::Tensor(p::Storage("FloatStorage", "0", 1), 0, {1}, {1}),
                                    std::string(raw.rbegin(), raw.rend()), "big"));
  EXPECT_THAT(Values(tensor), ElementsAre(1.5f));
}

absl::StatusOr<HostTensor> One(const std::string& type, const std::string& raw, int64_t elements) {
  return ReadRoot(File(p::Tensor(p::Storage(type, "0", elements), 0, {elements}, {1}), raw));
}

TEST(TorchFileTest, ConvertsToModelTypes) {
  EXPECT_THAT(Values(One("DoubleStorage", p::Little(std::bit_cast<uint64_t>(0.25), 8), 1)),
              ElementsAre(0.25f));
  EXPECT_THAT(Values(One("BFloat16Storage", p::Little(0x3fc0, 2), 1)), ElementsAre(1.5f));
  // 1.5, the largest number, the smallest subnormal number, -2, infinity.
  const std::string halves = p::Little(0x3e00, 2) + p::Little(0x7bff, 2) + p::Little(1, 2) +
                             p::Little(0xc000, 2) + p::Little(0x7c00, 2);
  EXPECT_THAT(Values(One("HalfStorage", halves, 5)),
              ElementsAre(1.5f, 65504.0f, std::ldexp(1.0f, -24), -2.0f,
                          std::numeric_limits<float>::infinity()));
  const auto integer = [](const std::string& type, const std::string& raw) {
    const auto tensor = One(type, raw, 1);
    EXPECT_TRUE(tensor.ok() && tensor->dtype() == DType::kInt64) << tensor.status();
    return tensor.ok() ? tensor->ints()[0] : 0;
  };
  EXPECT_EQ(integer("LongStorage", p::Little(static_cast<uint64_t>(-5), 8)), -5);
  EXPECT_EQ(integer("IntStorage", p::Little(0xfffffffe, 4)), -2);
  EXPECT_EQ(integer("ShortStorage", p::Little(0xfffd, 2)), -3);
  EXPECT_EQ(integer("CharStorage", "\xff"), -1);
  EXPECT_EQ(integer("ByteStorage", "\xff"), 255);
  EXPECT_EQ(integer("BoolStorage", "\x01"), 1);
}

TEST(TorchFileTest, UntypedStoragesTakeTheTensorsDtype) {
  const std::string storage =
      p::Tuple({p::Str("storage"), p::Global("torch.storage", "UntypedStorage"), p::Str("0"),
                p::Str("cpu"), p::Int(8)}) +
      "Q";
  const std::string tensor =
      p::Call(p::Global("torch._utils", "_rebuild_tensor_v3"),
              {storage, p::Int(0), p::Tuple({p::Int(2)}), p::Tuple({p::Int(1)}), p::Bool(false),
               p::OrderedDict({}), p::Global("torch", "float32")});
  EXPECT_THAT(Values(ReadRoot(File(tensor, Floats({7, 8})))), ElementsAre(7, 8));
}

TEST(TorchFileTest, RefusesToReadOutsideTheStorage) {
  for (const auto& file :
       {SixFloats(0, {7}, {1}), SixFloats(1, {6}, {1}), SixFloats(0, {2, 3}, {4, 1}),
        SixFloats(6, {1}, {1}), SixFloats(INT64_MAX, {1}, {1}), SixFloats(0, {2}, {INT64_MAX}),
        SixFloats(0, {3, 3}, {INT64_MAX / 2, INT64_MAX / 2})}) {
    EXPECT_THAT(Error(file), HasSubstr("reaches outside its storage of 6"));
  }
}

TEST(TorchFileTest, RefusesBrokenShapes) {
  for (const auto& file : {SixFloats(-1, {1}, {1}), SixFloats(0, {-1}, {1}),
                           SixFloats(0, {2}, {-1}), SixFloats(0, {2}, {1, 1})}) {
    EXPECT_THAT(Error(file), HasSubstr("broken shape"));
  }
  EXPECT_THAT(Error(SixFloats(0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0})),
              HasSubstr("impossible size"));
  EXPECT_THAT(Error(SixFloats(0, Shape(65, 1), Shape(65, 1))), HasSubstr("broken shape"));
}

TEST(TorchFileTest, BoundsWhatRepeatedElementsCopy) {
  EXPECT_THAT(Error(SixFloats(0, {1 << 20, 1 << 10}, {0, 0})), HasSubstr("far more than"));
}

TEST(TorchFileTest, RefusesStoragesOfAnotherSize) {
  const auto file = [](const std::string& type, const std::string& key, int64_t elements) {
    return File(p::Tensor(p::Storage(type, key, elements), 0, {1}, {1}), Floats({1, 2}));
  };
  EXPECT_EQ(Error(file("FloatStorage", "0", 2)), "(read)");
  EXPECT_THAT(Error(file("FloatStorage", "0", 3)), HasSubstr("should have 12 bytes and has 8"));
  EXPECT_THAT(Error(file("FloatStorage", "0", 1)), HasSubstr("should have 4 bytes and has 8"));
  EXPECT_THAT(Error(file("FloatStorage", "1", 2)), HasSubstr("not in the file"));
  EXPECT_THAT(Error(file("FloatStorage", "0", -2)), HasSubstr("broken shape"));
  EXPECT_THAT(Error(file("FloatStorage", "0", INT64_MAX)), HasSubstr("impossible size"));
  EXPECT_THAT(Error(file("ComplexFloatStorage", "0", 1)), HasSubstr("ComplexFloatStorage"));
}

TEST(TorchFileTest, RefusesWhatIsNoTensor) {
  EXPECT_THAT(Error(File(p::Int(3), "")), HasSubstr("is an int, not a tensor"));
  EXPECT_THAT(Error(BuildZip({{"m/other", "x"}})), HasSubstr("exactly one data.pkl"));
}

TEST(TorchFileTest, FilesOverTheLimitAreRefused) {
  ArchiveLimits limits;
  limits.max_pickle_bytes = 10;
  EXPECT_THAT(ReadRoot(SixFloats(0, {6}, {1}), limits).status().message(),
              HasSubstr("exceeds the limit of 10"));
}

}  // namespace
}  // namespace portolan
