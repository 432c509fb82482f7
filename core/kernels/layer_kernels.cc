#include <cmath>

#include "core/kernels/layers.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/layer_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/base/vector_math-inl.h"
#include "core/kernels/lane_sums-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using DU = hn::RebindToUnsigned<D>;
using V = hn::Vec<D>;
constexpr D kTag;
constexpr DU kIndexTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));
constexpr float kLayerNormEpsilon = 1e-5f;

HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }

HWY_INLINE auto Within(int64_t at, int64_t width) {
  return hn::FirstN(kTag, static_cast<size_t>(HWY_MIN(kLanes, width - at)));
}

// Two-pass mean and variance of up to four rows, which become normalised; several at once, because
// each waits for its sums. Writes 1 / sqrt(var + eps).
HWY_INLINE void NormalizeRows(int64_t width, int64_t rows, int64_t stride, float* HWY_RESTRICT x,
                              float* HWY_RESTRICT inverse_deviation) {
  const auto n = static_cast<float>(width);
  HWY_ALIGN float totals[kQuad];
  V sums[kQuad];
  for (int64_t r = 0; r < kQuad; ++r) {
    sums[r] = hn::Zero(kTag);
    if (r >= rows) continue;
    const float* HWY_RESTRICT row = x + r * stride;
    for (int64_t i = 0; i < width; i += kLanes) sums[r] = hn::Add(sums[r], hn::Load(kTag, row + i));
  }
  StoreSums(kTag, sums, totals);
  for (int64_t r = 0; r < rows; ++r) {
    float* HWY_RESTRICT row = x + r * stride;
    const V mean = hn::Set(kTag, totals[r] / n);
    V squares = hn::Zero(kTag);
    for (int64_t i = 0; i < width; i += kLanes) {
      const V shifted =
          hn::IfThenElseZero(Within(i, width), hn::Sub(hn::Load(kTag, row + i), mean));
      hn::Store(shifted, kTag, row + i);
      squares = hn::MulAdd(shifted, shifted, squares);
    }
    sums[r] = squares;
  }
  StoreSums(kTag, sums, totals);
  for (int64_t r = 0; r < rows; ++r) {
    float* HWY_RESTRICT row = x + r * stride;
    inverse_deviation[r] = 1.0f / std::sqrt(totals[r] / n + kLayerNormEpsilon);
    const V scale = hn::Set(kTag, inverse_deviation[r]);
    for (int64_t i = 0; i < width; i += kLanes) {
      hn::Store(hn::Mul(hn::Load(kTag, row + i), scale), kTag, row + i);
    }
  }
}

HWY_INLINE void CollectActive(int64_t width, const float* HWY_RESTRICT x,
                              float* HWY_RESTRICT values, uint32_t* HWY_RESTRICT offsets,
                              int32_t* HWY_RESTRICT marks) {
  static_assert(ActiveRows::kMark % kLanes == 0);
  size_t count = 0;
  const V zero = hn::Zero(kTag);
  const auto step = hn::Set(kIndexTag, static_cast<uint32_t>(kLanes * kPanel));
  auto lanes = hn::ShiftLeft<6>(hn::Iota(kIndexTag, 0));
  for (int64_t i = 0; i < width; i += kLanes) {
    if (i % ActiveRows::kMark == 0) *marks++ = static_cast<int32_t>(count);
    const V v = hn::Load(kTag, x + i);
    // Not "greater": a NaN goes on.
    const auto active = hn::Not(hn::Le(v, zero));
    // Compressed in a register: compressing into memory is slow on some processors.
    hn::StoreU(hn::Compress(lanes, hn::RebindMask(kIndexTag, active)), kIndexTag, offsets + count);
    hn::StoreU(hn::Compress(v, active), kTag, values + count);
    count += hn::CountTrue(kTag, active);
    lanes = hn::Add(lanes, step);
  }
  *marks = static_cast<int32_t>(count);
}

void ActivateBlock(const Activation& activation, int64_t rows, float* x, float* inverse_deviation,
                   ActiveRows& out) {
  static_assert(kPanel == 64, "offsets are indices shifted by 6");
  const int64_t stride = PaddedWidth(activation.width);
  for (int64_t begin = 0; begin < rows; begin += kQuad) {
    const int64_t end = HWY_MIN(rows, begin + kQuad);
    if (activation.layer_norm) {
      NormalizeRows(activation.width, end - begin, stride, x + begin * stride,
                    inverse_deviation + begin);
    }
    for (int64_t r = begin; r < end; ++r) {
      CollectActive(activation.width, x + r * stride, out.values(r), out.offsets(r), out.marks(r));
    }
  }
}

void ActivateBackwardBlock(const Activation& activation, int64_t rows, const float* x,
                           const float* inverse_deviation, float* gradient) {
  if (!activation.layer_norm) return;
  const int64_t width = activation.width;
  const int64_t stride = PaddedWidth(width);
  for (int64_t r = 0; r < rows; ++r) {
    const float* HWY_RESTRICT row = x + r * stride;
    float* HWY_RESTRICT g = gradient + r * stride;
    V sum = hn::Zero(kTag);
    V product = hn::Zero(kTag);
    for (int64_t i = 0; i < width; i += kLanes) {
      const V value = hn::Load(kTag, g + i);
      sum = hn::Add(sum, value);
      product = hn::MulAdd(value, hn::Load(kTag, row + i), product);
    }
    const auto n = static_cast<float>(width);
    const V mean = hn::Set(kTag, Sum(sum) / n);
    const V slope = hn::Set(kTag, Sum(product) / n);
    const V scale = hn::Set(kTag, inverse_deviation[r]);
    for (int64_t i = 0; i < width; i += kLanes) {
      const V centred = hn::Sub(hn::Load(kTag, g + i), mean);
      const V value = hn::Mul(hn::NegMulAdd(hn::Load(kTag, row + i), slope, centred), scale);
      hn::Store(hn::IfThenElseZero(Within(i, width), value), kTag, g + i);
    }
  }
}

void ScaleAndShiftBlock(int64_t width, int64_t rows, const float* scale, const float* shift,
                        float* x) {
  const int64_t stride = PaddedWidth(width);
  for (int64_t r = 0; r < rows; ++r) {
    float* HWY_RESTRICT row = x + r * stride;
    for (int64_t i = 0; i < stride; i += kLanes) {
      hn::Store(
          hn::MulAdd(hn::Load(kTag, row + i), hn::Load(kTag, scale + i), hn::Load(kTag, shift + i)),
          kTag, row + i);
    }
  }
}

void AddToRow(float* x, const float* addend, int64_t width) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(kTag, x + i), hn::LoadU(kTag, addend + i)), kTag, x + i);
  }
  for (; i < width; ++i) x[i] += addend[i];
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(ActivateBlock);
HWY_EXPORT(ActivateBackwardBlock);
HWY_EXPORT(ScaleAndShiftBlock);
HWY_EXPORT(AddToRow);

void Activate(const Activation& activation, int64_t rows, float* x, float* inverse_deviation,
              ActiveRows& out) {
  HWY_DYNAMIC_DISPATCH(ActivateBlock)(activation, rows, x, inverse_deviation, out);
}

void ActivateBackward(const Activation& activation, int64_t rows, const float* x,
                      const float* inverse_deviation, float* gradient) {
  HWY_DYNAMIC_DISPATCH(ActivateBackwardBlock)(activation, rows, x, inverse_deviation, gradient);
}

void ScaleAndShift(int64_t width, int64_t rows, const float* scale, const float* shift, float* x) {
  HWY_DYNAMIC_DISPATCH(ScaleAndShiftBlock)(width, rows, scale, shift, x);
}

void AddTo(float* x, const float* addend, int64_t width) {
  HWY_DYNAMIC_DISPATCH(AddToRow)(x, addend, width);
}

}  // namespace portolan
#endif  // HWY_ONCE
