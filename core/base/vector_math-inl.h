// Logarithm, exponential and sine on vectors of floats, for files that Highway compiles once per
// instruction set (hence the per-target include guard). Every operation is elementwise, so that
// instruction sets with fused multiply-add give the same bits.

#if defined(PORTOLAN_CORE_BASE_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PORTOLAN_CORE_BASE_VECTOR_MATH_INL_H_
#undef PORTOLAN_CORE_BASE_VECTOR_MATH_INL_H_
#else
#define PORTOLAN_CORE_BASE_VECTOR_MATH_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Min and Max return their second argument where one is NaN, so these orders let a NaN through.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ClampKeepingNan(D d, V x, float low, float high) {
  return hn::Max(hn::Set(d, low), hn::Min(hn::Set(d, high), x));
}

/// e^x within 1 ulp or so; x is clamped to [-87.3, 88.0], so that the result is finite and normal.
/// A NaN stays one.
/// Cephes' expf.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  x = ClampKeepingNan(d, x, -87.3f, 88.0f);
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504088896341f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
}

/// log x for normal x > 0, within 1 ulp or so. Cephes' logf.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, x);
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));
  const V m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e)));
  const V ef = hn::ConvertTo(d, e);
  const V f = hn::Sub(m, hn::Set(d, 1.0f));
  const V f2 = hn::Mul(f, f);
  V p = hn::Set(d, 7.0376836292e-2f);
  p = hn::MulAdd(p, f, hn::Set(d, -1.1514610310e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.1676998740e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, -1.2420140846e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.4249322787e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, -1.6668057665e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.0000714765e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, -2.4999993993e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 3.3333331174e-1f));
  p = hn::Mul(hn::Mul(p, f), f2);
  p = hn::MulAdd(ef, hn::Set(d, -2.12194440e-4f), p);
  p = hn::NegMulAdd(f2, hn::Set(d, 0.5f), p);
  return hn::MulAdd(ef, hn::Set(d, 0.693359375f), hn::Add(f, p));
}

/// log(1 + y) for y >= 0, given u = 1 + y as rounded and 1 / u.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log1p(D d, V y, V u, V inverse_u) {
  const V lost = hn::Sub(y, hn::Sub(u, hn::Set(d, 1.0f)));
  return hn::MulAdd(lost, inverse_u, Log(d, u));
}

/// Sine and cosine of 2 pi t for t in [0, 1), within 1e-7.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void SinCosTurns(D d, V t, V& sine, V& cosine) {
  const hn::RebindToSigned<D> di;
  const V quarter = hn::Round(hn::Mul(t, hn::Set(d, 4.0f)));
  const V x = hn::Mul(hn::MulSub(t, hn::Set(d, 4.0f), quarter), hn::Set(d, 1.57079632679489662f));
  const V x2 = hn::Mul(x, x);
  V s = hn::Set(d, -1.9515295891e-4f);
  s = hn::MulAdd(s, x2, hn::Set(d, 8.3321608736e-3f));
  s = hn::MulAdd(s, x2, hn::Set(d, -1.6666654611e-1f));
  s = hn::MulAdd(hn::Mul(s, x2), x, x);
  V c = hn::Set(d, 2.443315711809948e-5f);
  c = hn::MulAdd(c, x2, hn::Set(d, -1.388731625493765e-3f));
  c = hn::MulAdd(c, x2, hn::Set(d, 4.166664568298827e-2f));
  c = hn::MulAdd(hn::Mul(c, x2), x2, hn::NegMulAdd(x2, hn::Set(d, 0.5f), hn::Set(d, 1.0f)));
  const auto q = hn::ConvertTo(di, quarter);
  const auto one = hn::Set(di, 1);
  const auto swap = hn::RebindMask(d, hn::Eq(hn::And(q, one), one));
  // Signs: the sine turns in quarters 2 and 3, the cosine in 1 and 2.
  const auto sine_sign = hn::ShiftLeft<30>(hn::And(q, hn::Set(di, 2)));
  const auto cosine_sign = hn::ShiftLeft<30>(hn::And(hn::Add(q, one), hn::Set(di, 2)));
  sine = hn::Xor(hn::IfThenElse(swap, c, s), hn::BitCast(d, sine_sign));
  cosine = hn::Xor(hn::IfThenElse(swap, s, c), hn::BitCast(d, cosine_sign));
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
