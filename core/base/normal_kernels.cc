#include <algorithm>
#include <array>

#include "core/base/philox.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/base/normal_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/base/vector_math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using DU = hn::RebindToUnsigned<D>;
using V = hn::Vec<D>;
using VU = hn::Vec<DU>;
constexpr D kTag;
constexpr DU kBitsTag;
constexpr size_t kLanes = hn::MaxLanes(kTag);
// Words of a block.
constexpr size_t kWords = 4;

// The high and the low halves of 32-bit products.
struct Product {
  VU high;
  VU low;
};

HWY_INLINE Product Multiply(VU constant, VU x) {
#if HWY_TARGET == HWY_SCALAR
  const uint64_t product = static_cast<uint64_t>(hn::GetLane(constant)) * hn::GetLane(x);
  return {hn::Set(kBitsTag, static_cast<uint32_t>(product >> 32)),
          hn::Set(kBitsTag, static_cast<uint32_t>(product))};
#else
  const hn::Repartition<uint64_t, DU> wide;
  const auto upper = hn::BitCast(kBitsTag, hn::ShiftRight<32>(hn::BitCast(wide, x)));
  const auto even = hn::BitCast(kBitsTag, hn::MulEven(constant, x));
  const auto odd = hn::BitCast(kBitsTag, hn::MulEven(constant, upper));
  return {hn::OddEven(odd, hn::DupOdd(even)), hn::OddEven(hn::DupEven(odd), even)};
#endif
}

// Philox4x32-10 of one block per lane.
HWY_INLINE void PhiloxBlocks(uint64_t key, VU& c0, VU& c1, VU& c2, VU& c3) {
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const Product p0 = Multiply(hn::Set(kBitsTag, kPhiloxMultiplier0), c0);
    const Product p1 = Multiply(hn::Set(kBitsTag, kPhiloxMultiplier1), c2);
    c0 = hn::Xor(hn::Xor(p1.high, c1), hn::Set(kBitsTag, k0));
    c1 = p1.low;
    c2 = hn::Xor(hn::Xor(p0.high, c3), hn::Set(kBitsTag, k1));
    c3 = p0.low;
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
}

// 24 random bits as a float in [0, 1).
HWY_INLINE V ToUnit(VU bits) {
  const hn::RebindToSigned<D> signed_tag;
  const auto mantissa = hn::BitCast(signed_tag, hn::ShiftRight<8>(bits));
  return hn::Mul(hn::ConvertTo(kTag, mantissa), hn::Set(kTag, 0x1.0p-24f));
}

// Box-Muller. 1 - u lies in (0, 1], so the logarithm is finite.
HWY_INLINE void NormalPair(VU radius_bits, VU angle_bits, V& first, V& second) {
  const V log = Log(kTag, hn::Sub(hn::Set(kTag, 1.0f), ToUnit(radius_bits)));
  // Cephes' logarithm of 1 may be a rounding above 0.
  const V radius = hn::Sqrt(hn::Max(hn::Zero(kTag), hn::Mul(hn::Set(kTag, -2.0f), log)));
  V sine;
  V cosine;
  SinCosTurns(kTag, ToUnit(angle_bits), sine, cosine);
  first = hn::Mul(radius, cosine);
  second = hn::Mul(radius, sine);
}

void Normals(uint64_t key, const std::array<uint32_t, 4>& counter, float* HWY_RESTRICT out,
             size_t size) {
  const size_t blocks = (size + kWords - 1) / kWords;
  for (size_t block = 0; block < blocks; block += kLanes) {
    VU c0 = hn::Set(kBitsTag, counter[0]);
    VU c1 = hn::Set(kBitsTag, counter[1]);
    VU c2 = hn::Set(kBitsTag, counter[2]);
    VU c3 = hn::Add(hn::Iota(kBitsTag, 0),
                    hn::Set(kBitsTag, counter[3] + static_cast<uint32_t>(block)));
    PhiloxBlocks(key, c0, c1, c2, c3);
    V n0;
    V n1;
    V n2;
    V n3;
    NormalPair(c0, c1, n0, n1);
    NormalPair(c2, c3, n2, n3);
    const size_t begin = block * kWords;
    if (begin + kLanes * kWords <= size) {
      hn::StoreInterleaved4(n0, n1, n2, n3, kTag, out + begin);
    } else {
      HWY_ALIGN float last[kLanes * kWords];
      hn::StoreInterleaved4(n0, n1, n2, n3, kTag, last);
      std::copy(last, last + (size - begin), out + begin);
    }
  }
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(Normals);

void FillNormal(uint64_t key, RandomUse use, uint32_t epoch, uint64_t item, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(Normals)
  (key, PhiloxCounter(use, epoch, item, 0), out.data(), out.size());
}

}  // namespace portolan
#endif  // HWY_ONCE
