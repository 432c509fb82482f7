#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace portolan {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): 128
/// random bits as a pure function of a 64-bit key and a 128-bit counter. There is no state, so a
/// draw depends on nothing but its coordinates: not on threads, order, or what was drawn before.
std::array<uint32_t, 4> Philox4x32(uint64_t key, const std::array<uint32_t, 4>& counter);

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;

/// What a random number is for; part of every counter, so that two uses never share numbers.
enum class RandomUse : uint32_t {
  kColumnInit = 1,
  kLatentNoise = 2,
  kLabelLatentNoise = 3,
  kShuffle = 4,
  kSplit = 5,
  kDropout = 6,
  kElboNoise = 7,
  kProbe = 8,
  kLabelElboNoise = 9,
  kBackgroundNoise = 20,
  kBackgroundElboNoise = 21,
  kExpressionNoise = 22,
  kExpressionBackground = 23,
  kProteinPrior = 24,
  kAdversaryInit = 25,
  kLabelledShuffle = 30,
};

/// The counter of a block, four 32-bit words of one item's stream: (item low, item high, use and
/// epoch, block).
std::array<uint32_t, 4> PhiloxCounter(RandomUse use, uint32_t epoch, uint64_t item, uint32_t block);

/// The key of a stream: (seed, name), where the name is usually a batch.
uint64_t RandomKey(uint64_t seed, std::string_view name);

/// 64 bits that identify a name (a cell, a batch, a tensor) in a counter. Stable over versions.
uint64_t StableHash64(std::string_view name);

/// Fills `out` with standard normals (Box-Muller). Coordinates: (use, epoch, item). The bits are
/// the same on all instruction sets with fused multiply-add.
void FillNormal(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item, std::span<float> out);

/// Fills `out` with uniforms in [0, 1). Coordinates as above.
void FillUniform(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item, std::span<float> out);

/// 64 random bits at coordinates (use, epoch, item).
uint64_t RandomBits(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item);

}  // namespace portolan
