// Sums over the lanes of vectors, for files that Highway compiles once per instruction set (hence
// the per-target include guard).

#if defined(PORTOLAN_CORE_KERNELS_LANE_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PORTOLAN_CORE_KERNELS_LANE_SUMS_INL_H_
#undef PORTOLAN_CORE_KERNELS_LANE_SUMS_INL_H_
#else
#define PORTOLAN_CORE_KERNELS_LANE_SUMS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int32_t kQuad = 4;

#if HWY_TARGET != HWY_SCALAR
/// The sum of a vector's blocks of four lanes.
template <class D, class V>
HWY_INLINE void StoreBlockSum(D d, V v, float* HWY_RESTRICT out) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    StoreBlockSum(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), out);
  } else {
    hn::Store(v, d, out);
  }
}
#endif

/// The sums of the lanes of four vectors, each in the same order whatever the others are. `out`: on
/// a 16-byte boundary. Cheaper than four times SumOfLanes.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void StoreSums(D d, const V* HWY_RESTRICT v, float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  (void)d;
  for (int32_t i = 0; i < kQuad; ++i) out[i] = hn::GetLane(v[i]);
#else
  const hn::RepartitionToWide<D> pairs;
  const V ab = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const V cd = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto ab2 = hn::BitCast(pairs, ab);
  const auto cd2 = hn::BitCast(pairs, cd);
  // In every block of four lanes a part of each of the four sums.
  const V parts = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab2, cd2)),
                          hn::BitCast(d, hn::InterleaveUpper(pairs, ab2, cd2)));
  StoreBlockSum(d, parts, out);
#endif
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
