#include "core/base/philox.h"

#include <algorithm>

namespace portolan {
namespace {

// 24 random bits as a float in [0, 1).
float ToUnit(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1.0p-24f; }

}  // namespace

std::array<uint32_t, 4> PhiloxCounter(RandomUse use, uint32_t epoch, uint64_t item,
                                      uint32_t block) {
  return {static_cast<uint32_t>(item), static_cast<uint32_t>(item >> 32),
          (static_cast<uint32_t>(use) << 24) ^ epoch, block};
}

std::array<uint32_t, 4> Philox4x32(uint64_t key, const std::array<uint32_t, 4>& counter) {
  std::array<uint32_t, 4> c = counter;
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiplier0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiplier1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return c;
}

uint64_t StableHash64(std::string_view name) {
  // FNV-1a, then one round of Philox to spread the bits.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  const auto mixed = Philox4x32(hash, {static_cast<uint32_t>(name.size()), 0, 0, 0});
  return (static_cast<uint64_t>(mixed[1]) << 32) | mixed[0];
}

uint64_t RandomKey(uint64_t seed, std::string_view name) {
  const uint64_t hash = StableHash64(name);
  const auto mixed =
      Philox4x32(seed, {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32), 0, 1});
  return (static_cast<uint64_t>(mixed[1]) << 32) | mixed[0];
}

uint64_t RandomBits(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item) {
  const auto bits = Philox4x32(key, PhiloxCounter(use, epoch, item, 0));
  return (static_cast<uint64_t>(bits[1]) << 32) | bits[0];
}

void FillUniform(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item, std::span<float> out) {
  for (size_t i = 0; i < out.size(); i += 4) {
    const auto bits =
        Philox4x32(key, PhiloxCounter(use, epoch, item, static_cast<uint32_t>(i / 4)));
    for (size_t j = i; j < std::min(i + 4, out.size()); ++j) out[j] = ToUnit(bits[j - i]);
  }
}

}  // namespace portolan
