#include <algorithm>

#include "core/kernels/gaussian.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/gaussian_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/base/vector_math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr D kTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));
constexpr float kLog2Pi = 1.8378770664f;

HWY_INLINE V One() { return hn::Set(kTag, 1.0f); }
HWY_INLINE V Half() { return hn::Set(kTag, 0.5f); }
HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }

// Lanes of one vector of a row that holds `width` numbers.
class Lanes {
 public:
  Lanes(int64_t at, int64_t width)
      : at_(at), used_(hn::FirstN(kTag, static_cast<size_t>(HWY_MIN(kLanes, width - at)))) {}
  HWY_INLINE V Load(const float* row) const { return hn::MaskedLoad(used_, kTag, row + at_); }
  HWY_INLINE V LoadOr1(const float* row) const { return hn::IfThenElse(used_, Load(row), One()); }
  HWY_INLINE void Store(V v, float* row) const { hn::BlendedStore(v, used_, kTag, row + at_); }
  HWY_INLINE V Used(V v) const { return hn::IfThenElseZero(used_, v); }

 private:
  int64_t at_;
  hn::Mask<D> used_;
};

void Sample(int64_t width, const float* heads, float epsilon, const float* noise, float* var,
            float* z) {
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    const V v = hn::Add(Exp(kTag, lanes.Load(heads + width)), hn::Set(kTag, epsilon));
    lanes.Store(v, var);
    lanes.Store(hn::MulAdd(hn::Sqrt(v), lanes.Load(noise), lanes.Load(heads)), z);
  }
}

float Kl(int64_t width, const float* mean, const float* var) {
  V sum = hn::Zero(kTag);
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    const V m = lanes.Load(mean);
    const V v = lanes.LoadOr1(var);
    const V term = hn::Sub(hn::MulAdd(m, m, hn::Sub(v, One())), Log(kTag, v));
    sum = hn::Add(sum, term);
  }
  return 0.5f * Sum(sum);
}

float NegativeLogs(int64_t width, const float* var) {
  V sum = hn::Zero(kTag);
  for (int64_t i = 0; i < width; i += kLanes) {
    sum = hn::Sub(sum, Log(kTag, Lanes(i, width).LoadOr1(var)));
  }
  return Sum(sum);
}

void SampleBackward(int64_t width, const float* heads, const float* noise, const float* var,
                    const float* by_z, float kl_weight, float log_density_weight, float* by_heads) {
  const V kl = hn::Set(kTag, kl_weight);
  // log q at its own sample is -(noise^2 + log var) / 2 and a constant.
  const V inverse_weight = hn::Set(kTag, -0.5f * (kl_weight + log_density_weight));
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    const V v = lanes.LoadOr1(var);
    const V dz = lanes.Load(by_z);
    const V half_kl = hn::Mul(kl, Half());
    V by_var = hn::Add(half_kl, hn::Div(inverse_weight, v));
    by_var = hn::Add(by_var, hn::Div(hn::Mul(hn::Mul(dz, lanes.Load(noise)), Half()), hn::Sqrt(v)));
    const V by_log = hn::Mul(by_var, Exp(kTag, lanes.Load(heads + width)));
    lanes.Store(hn::MulAdd(kl, lanes.Load(heads), dz), by_heads);
    lanes.Store(by_log, by_heads + width);
  }
}

float NegativeDensity(int64_t width, const float* z, const float* heads, float weight,
                      float* by_heads, float* by_z) {
  V sum = hn::Zero(kTag);
  const V w = hn::Set(kTag, weight);
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    const V log_var = lanes.Load(heads + width);
    const V deviation = hn::Sub(lanes.Load(z), lanes.Load(heads));
    const V scaled = hn::Mul(deviation, Exp(kTag, hn::Neg(log_var)));
    const V square = hn::Mul(deviation, scaled);
    sum = hn::Add(sum, lanes.Used(hn::Add(hn::Add(square, log_var), hn::Set(kTag, kLog2Pi))));
    const V by_mean = hn::Mul(scaled, w);
    lanes.Store(hn::Neg(by_mean), by_heads);
    lanes.Store(hn::Mul(hn::Mul(w, Half()), hn::Sub(One(), square)), by_heads + width);
    lanes.Store(hn::Add(lanes.Load(by_z), by_mean), by_z);
  }
  return 0.5f * Sum(sum);
}

void SoftmaxRow(int64_t width, float* logits) {
  const V most = hn::Set(kTag, *std::max_element(logits, logits + width));
  V sum = hn::Zero(kTag);
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    const V shifted = hn::Sub(lanes.Load(logits), most);
    const V e = hn::IfThenZeroElse(hn::Lt(shifted, hn::Set(kTag, -87.0f)), Exp(kTag, shifted));
    lanes.Store(e, logits);
    sum = hn::Add(sum, lanes.Used(e));
  }
  const V total = hn::Set(kTag, Sum(sum));
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes lanes(i, width);
    lanes.Store(hn::Div(lanes.Load(logits), total), logits);
  }
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(Sample);
HWY_EXPORT(Kl);
HWY_EXPORT(NegativeLogs);
HWY_EXPORT(SampleBackward);
HWY_EXPORT(NegativeDensity);
HWY_EXPORT(SoftmaxRow);

void SampleGaussian(int64_t width, const float* heads, float epsilon, const float* noise,
                    float* var, float* z) {
  HWY_DYNAMIC_DISPATCH(Sample)(width, heads, epsilon, noise, var, z);
}

float KlFromStandard(int64_t width, const float* mean, const float* var) {
  return HWY_DYNAMIC_DISPATCH(Kl)(width, mean, var);
}

float NegativeLogVariances(int64_t width, const float* var) {
  return HWY_DYNAMIC_DISPATCH(NegativeLogs)(width, var);
}

void SampleGaussianBackward(int64_t width, const float* heads, const float* noise, const float* var,
                            const float* by_z, float kl_weight, float log_density_weight,
                            float* by_heads) {
  HWY_DYNAMIC_DISPATCH(SampleBackward)
  (width, heads, noise, var, by_z, kl_weight, log_density_weight, by_heads);
}

float NegativeLogDensity(int64_t width, const float* z, const float* heads, float weight,
                         float* by_heads, float* by_z) {
  return HWY_DYNAMIC_DISPATCH(NegativeDensity)(width, z, heads, weight, by_heads, by_z);
}

void Softmax(int64_t width, float* logits) { HWY_DYNAMIC_DISPATCH(SoftmaxRow)(width, logits); }

}  // namespace portolan
#endif  // HWY_ONCE
