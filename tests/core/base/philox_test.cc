#include "core/base/philox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <span>
#include <vector>

namespace portolan {
namespace {

using testing::ElementsAre;

// The known answers published with the generator (Random123, kat_vectors).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_THAT(Philox4x32(0, {0, 0, 0, 0}),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  EXPECT_THAT(Philox4x32(~uint64_t{0}, {~0u, ~0u, ~0u, ~0u}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
}

TEST(Philox, NormalsHaveTheMomentsOfNormals) {
  std::vector<float> values(200000);
  FillNormal(RandomKey(1, "batch"), RandomUse::kLatentNoise, 3, 17, values);
  double sum = 0, squares = 0, cubes = 0, fourths = 0;
  for (const double v : values) {
    ASSERT_TRUE(std::isfinite(v));
    sum += v;
    squares += v * v;
    cubes += v * v * v;
    fourths += v * v * v * v;
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 0.012);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(cubes / n, 0, 0.05);
  EXPECT_NEAR(fourths / n, 3, 0.12);
}

// Box-Muller of the blocks' words, in double.
TEST(Philox, NormalsAreThoseOfTheirBlocks) {
  constexpr double kTwoPi = 2 * std::numbers::pi;
  const uint64_t key = RandomKey(3, "batch");
  for (const size_t size : {1, 4, 10, 30, 63, 64, 65, 870}) {
    std::vector<float> values(size + 1, 7.0f);
    FillNormal(key, RandomUse::kLatentNoise, 2, 99, std::span(values).first(size));
    for (size_t i = 0; i < size; ++i) {
      const auto words = Philox4x32(
          key, PhiloxCounter(RandomUse::kLatentNoise, 2, 99, static_cast<uint32_t>(i / 4)));
      const auto unit = [&](size_t word) { return (words[word] >> 8) * 0x1.0p-24; };
      const size_t pair = i % 4 / 2 * 2;
      const double radius = std::sqrt(-2 * std::log(1 - unit(pair)));
      const double angle = kTwoPi * unit(pair + 1);
      const double expected = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
      ASSERT_NEAR(values[i], expected, 2e-6) << i << " of " << size;
    }
    EXPECT_EQ(values[size], 7.0f);
  }
}

TEST(Philox, UniformsFillTheUnitInterval) {
  std::vector<float> values(100000);
  FillUniform(RandomKey(2, "b"), RandomUse::kDropout, 0, 0, values);
  double sum = 0;
  for (const float v : values) {
    ASSERT_GE(v, 0.0f);
    ASSERT_LT(v, 1.0f);
    sum += v;
  }
  EXPECT_NEAR(sum / static_cast<double>(values.size()), 0.5, 0.005);
}

std::vector<float> Stream(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item,
                          size_t size = 4000) {
  std::vector<float> out(size);
  FillNormal(key, use, epoch, item, out);
  return out;
}

TEST(Philox, StreamsOfDifferentCoordinatesAreUncorrelated) {
  const uint64_t key = RandomKey(5, "a");
  const auto base = Stream(key, RandomUse::kLatentNoise, 1, 1);
  const std::vector<std::vector<float>> others = {
      Stream(RandomKey(5, "b"), RandomUse::kLatentNoise, 1, 1),
      Stream(RandomKey(6, "a"), RandomUse::kLatentNoise, 1, 1),
      Stream(key, RandomUse::kLabelLatentNoise, 1, 1),
      Stream(key, RandomUse::kLatentNoise, 2, 1),
      Stream(key, RandomUse::kLatentNoise, 1, 2),
      Stream(key, RandomUse::kLatentNoise, 1, (uint64_t{1} << 32) + 1)};
  for (const auto& other : others) {
    double product = 0;
    for (size_t i = 0; i < base.size(); ++i) product += base[i] * other[i];
    EXPECT_NEAR(product / static_cast<double>(base.size()), 0, 0.08);
  }
}

TEST(Philox, ADrawDependsOnItsCoordinatesOnly) {
  const uint64_t key = RandomKey(5, "a");
  const auto whole = Stream(key, RandomUse::kElboNoise, 1, 1, 11);
  const auto part = Stream(key, RandomUse::kElboNoise, 1, 1, 7);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
  EXPECT_NE(RandomBits(key, RandomUse::kShuffle, 0, 1), RandomBits(key, RandomUse::kShuffle, 0, 2));
  EXPECT_NE(StableHash64("cell1"), StableHash64("cell2"));
  EXPECT_EQ(StableHash64("cell1"), StableHash64("cell1"));
}

}  // namespace
}  // namespace portolan
