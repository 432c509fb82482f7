#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/kernels/proteins.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/protein_kernels.cc"
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
constexpr float kEpsilon = 1e-8f;
constexpr float kMostRate = 1e30f;
constexpr float kMostLogRate = 69.0f;  // of kMostRate

HWY_INLINE V One() { return hn::Set(kTag, 1.0f); }
HWY_INLINE V Epsilon() { return hn::Set(kTag, kEpsilon); }
HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }

// softplus(x) and its derivative, the logistic function.
struct Softplus {
  V value;
  V slope;
};

// Not inlined, as is ComponentOf: sanitizers make too much of what would become one function.
HWY_NOINLINE Softplus SoftplusOf(V x) {
  const V zero = hn::Zero(kTag);
  const V e = Exp(kTag, hn::Neg(hn::Abs(x)));
  const V u = hn::Add(One(), e);
  const V r = hn::Div(One(), u);
  return {hn::Add(hn::Max(zero, x), Log1p(kTag, e, u, r)),
          hn::Mul(hn::IfThenElse(hn::Lt(x, zero), e, One()), r)};
}

// The background's deviation b, its logarithm, and (db/du) and (db/du) / b.
struct Deviation {
  V value;
  V log;
  V slope;
  V relative_slope;
};

HWY_NOINLINE Deviation DeviationOf(BackgroundScale scale, V u) {
  if (scale == BackgroundScale::kExp) {
    const V b = Exp(kTag, u);
    return {b, u, b, One()};
  }
  const Softplus softplus = SoftplusOf(u);
  V b = softplus.value;
  if (scale == BackgroundScale::kSoftplusFloor) b = hn::Add(b, Epsilon());
  return {b, Log(kTag, b), softplus.slope, hn::Div(softplus.slope, b)};
}

// log NB(x; mu, theta) without what does not depend on mu, and its derivative by log mu.
struct Component {
  V log_p;
  V by_log_rate;
};

HWY_NOINLINE Component ComponentOf(V x, V mu, V theta, V inverse) {
  const V y = hn::Mul(mu, inverse);
  const V u = hn::Add(One(), y);
  const V log1p = Log1p(kTag, y, u, hn::Div(One(), u));
  const V above = hn::Add(mu, Epsilon());
  const V all = hn::Add(hn::Add(theta, mu), Epsilon());
  const V share = hn::Div(mu, all);
  const V log_share = hn::Sub(Log(kTag, above), Log(kTag, all));
  const V by_count = hn::Sub(hn::Div(mu, above), share);
  return {hn::MulSub(x, log_share, hn::Mul(theta, log1p)),
          hn::MulSub(x, by_count, hn::Mul(theta, share))};
}

// One vector of proteins, those from `at` on.
struct Lanes {
  Lanes(int64_t begin, int64_t width)
      : at(begin), used(hn::FirstN(kTag, static_cast<size_t>(HWY_MIN(kLanes, width - begin)))) {}
  HWY_INLINE V Load(const float* row) const { return hn::MaskedLoad(used, kTag, row + at); }
  HWY_INLINE void Store(V v, float* row) const { hn::BlendedStore(v, used, kTag, row + at); }
  HWY_INLINE V Used(V v) const { return hn::IfThenElseZero(used, v); }

  int64_t at;
  hn::Mask<D> used;
};

struct Cell {
  const FrozenProteins& frozen;
  const float* counts;
  const float* noise;
  const ProteinWeights& weights;
  const ProteinPrior& prior;
  const ProteinHeads& heads;
};

// The mixture's -log p of one vector of proteins, and its derivatives by the logarithm of the
// background's rate, by f and by m; all zero where nothing was measured.
struct Mixture {
  V loss;
  V by_log_rate;
  V by_fore;
  V by_mixing;
};

HWY_NOINLINE Mixture MixtureOf(const Cell& cell, const Lanes& lanes, V log_rate, V f, V m,
                               const Softplus& away) {
  const V zero = hn::Zero(kTag);
  const V most = hn::Set(kTag, kMostRate);
  const V efficiency = hn::Load(kTag, cell.frozen.efficiency() + lanes.at);
  const V theta = hn::Load(kTag, cell.frozen.theta() + lanes.at);
  const V inverse = hn::Load(kTag, cell.frozen.inverse() + lanes.at);
  const V x = lanes.Load(cell.counts);
  const V factor = hn::Add(hn::Add(hn::Max(zero, f), One()), Epsilon());
  // Infinities would cancel one another somewhere below; the bound keeps them out.
  const V back = hn::Min(most, hn::Mul(efficiency, Exp(kTag, log_rate)));
  const V fore = hn::Min(most, hn::Mul(back, factor));
  const Component c1 = ComponentOf(x, back, theta, inverse);
  const Component c2 = ComponentOf(x, fore, theta, inverse);
  // log(e^c1 + e^(c2 - m)) - softplus(-m)
  const V shifted = hn::Sub(c2.log_p, m);
  const Softplus between = SoftplusOf(hn::Sub(c1.log_p, shifted));
  const V log_p = hn::Sub(hn::Add(shifted, between.value), away.value);
  const V p1 = between.slope;
  const V p2 = SoftplusOf(hn::Sub(shifted, c1.log_p)).slope;
  const V by_fore_rate = hn::Mul(p2, c2.by_log_rate);
  const V measured = hn::Load(kTag, cell.frozen.measured() + lanes.at);
  const auto counts = hn::Ne(measured, zero);
  const auto negative = [&](V v) { return hn::IfThenElseZero(counts, hn::Neg(v)); };
  const V nan = hn::Set(kTag, std::numeric_limits<float>::quiet_NaN());
  const V known = hn::IfThenElse(hn::Gt(log_rate, hn::Set(kTag, kMostLogRate)), nan, log_p);
  return {negative(known), negative(hn::MulAdd(p1, c1.by_log_rate, by_fore_rate)),
          negative(hn::IfThenElseZero(hn::Gt(f, zero), hn::Div(by_fore_rate, factor))),
          negative(hn::Sub(away.slope, p2))};
}

ProteinTerms Terms(BackgroundScale scale, int64_t proteins, const Cell& cell) {
  const V reconstruction_weight = hn::Set(kTag, cell.weights.reconstruction);
  const V kl_weight = hn::Set(kTag, cell.weights.kl);
  const V mixing_penalty = hn::Set(kTag, cell.frozen.mixing_penalty());
  const V half = hn::Set(kTag, 0.5f);
  V reconstruction = hn::Zero(kTag);
  V kl = hn::Zero(kTag);
  for (int64_t i = 0; i < proteins; i += kLanes) {
    const Lanes lanes(i, proteins);
    const V a = lanes.Load(cell.heads.back_mean);
    const Deviation b = DeviationOf(scale, lanes.Load(cell.heads.back_scale));
    const V m = lanes.Load(cell.heads.mixing);
    const V noise = lanes.Load(cell.noise);
    const Softplus away = SoftplusOf(hn::Neg(m));
    const Mixture mixture = MixtureOf(cell, lanes, hn::MulAdd(b.value, noise, a),
                                      lanes.Load(cell.heads.fore_scale), m, away);
    const V log_prior = lanes.Load(cell.prior.log_deviation);
    const V inverse = Exp(kTag, hn::Neg(log_prior));
    const V ratio = hn::Mul(b.value, inverse);
    const V shift = hn::Mul(hn::Sub(a, lanes.Load(cell.prior.mean)), inverse);
    const V squares = hn::MulAdd(ratio, ratio, hn::Mul(shift, shift));
    const auto measured = hn::Ne(hn::Load(kTag, cell.frozen.measured() + i), hn::Zero(kTag));
    const V divergence = hn::Sub(hn::Mul(half, hn::Sub(squares, One())), hn::Sub(b.log, log_prior));
    reconstruction = hn::Add(reconstruction, mixture.loss);
    kl = hn::Add(kl, hn::IfThenElseZero(measured, divergence));
    kl = hn::Add(kl, lanes.Used(hn::Mul(mixing_penalty, away.value)));

    const V own_kl = hn::IfThenElseZero(measured, kl_weight);
    const V by_log_rate = hn::Mul(reconstruction_weight, mixture.by_log_rate);
    const V by_shift = hn::Mul(own_kl, hn::Mul(shift, inverse));
    const V by_log_b = hn::Mul(own_kl, hn::MulSub(ratio, ratio, One()));
    lanes.Store(hn::Add(by_log_rate, by_shift), cell.heads.back_mean);
    lanes.Store(
        hn::MulAdd(by_log_b, b.relative_slope, hn::Mul(by_log_rate, hn::Mul(noise, b.slope))),
        cell.heads.back_scale);
    lanes.Store(hn::Mul(reconstruction_weight, mixture.by_fore), cell.heads.fore_scale);
    lanes.Store(hn::NegMulAdd(hn::Mul(kl_weight, mixing_penalty), away.slope,
                              hn::Mul(reconstruction_weight, mixture.by_mixing)),
                cell.heads.mixing);
    lanes.Store(hn::Neg(by_shift), cell.prior.by_mean);
    lanes.Store(hn::Mul(own_kl, hn::Sub(One(), squares)), cell.prior.by_log_deviation);
  }
  return {Sum(reconstruction), Sum(kl) + cell.frozen.efficiency_penalty()};
}

ProteinTerms TermsOfCell(BackgroundScale scale, int64_t proteins, const FrozenProteins& frozen,
                         const float* counts, const float* noise, const ProteinWeights& weights,
                         const ProteinPrior& prior, const ProteinHeads& heads) {
  return Terms(scale, proteins, {frozen, counts, noise, weights, prior, heads});
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(TermsOfCell);

FrozenProteins::FrozenProteins(std::span<const float> theta, std::span<const float> log_efficiency,
                               std::span<const float> measured)
    : theta_(PaddedWidth(static_cast<int64_t>(theta.size()))),
      inverse_(theta_.size()),
      efficiency_(theta_.size()),
      measured_(theta_.size()) {
  constexpr double kEpsilon = 1e-8;
  constexpr float kMostTheta = 1e30f;  // Poisson long before
  std::fill(theta_.data(), theta_.data() + theta_.size(), 1.0f);
  std::fill(efficiency_.data(), efficiency_.data() + efficiency_.size(), 1.0f);
  std::copy(measured.begin(), measured.end(), measured_.data());
  for (size_t i = 0; i < theta.size(); ++i) {
    theta_[static_cast<int64_t>(i)] = std::min(theta[i], kMostTheta);
  }
  for (int64_t i = 0; i < theta_.size(); ++i) {
    inverse_[i] = static_cast<float>(1 / (theta_[i] + kEpsilon));
  }
  if (log_efficiency.empty()) return;
  mixing_penalty_ = 1e-3f;
  double penalty = 0;
  for (size_t i = 0; i < log_efficiency.size(); ++i) {
    const double e = log_efficiency[i];
    efficiency_[static_cast<int64_t>(i)] = static_cast<float>(std::exp(e));
    penalty += 0.5 * e * e + e + 0.5 * std::log(2 * std::numbers::pi);
  }
  efficiency_penalty_ = static_cast<float>(penalty);
}

ProteinTerms ProteinTermsAndGradient(BackgroundScale scale, const FrozenProteins& frozen,
                                     int64_t proteins, const float* counts, const float* noise,
                                     const ProteinWeights& weights, const ProteinPrior& prior,
                                     const ProteinHeads& heads) {
  return HWY_DYNAMIC_DISPATCH(TermsOfCell)(scale, proteins, frozen, counts, noise, weights, prior,
                                           heads);
}

}  // namespace portolan
#endif  // HWY_ONCE
