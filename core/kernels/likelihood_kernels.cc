#include <algorithm>

#include "core/kernels/likelihood.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/likelihood_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/base/vector_math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr D kTag;
constexpr DI kIndexTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));
constexpr float kEpsilon = 1e-8f;
constexpr float kSmallestNormal = 1.17549435e-38f;

HWY_INLINE V One() { return hn::Set(kTag, 1.0f); }
HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }

// What NB says of a gene with rate mu.
struct Rate {
  V log1p;  // log(theta + mu + eps) - log(theta + eps)
  V pull;   // mu theta / ((theta + mu + eps)(theta + eps)) (theta + eps): d(theta log1p) / d log mu
};

HWY_INLINE Rate RateOf(V mu, V inverse, V share) {
  const V y = hn::Mul(mu, inverse);
  const V u = hn::Add(One(), y);
  const V r = hn::Div(One(), u);
  return {Log1p(kTag, y, u, r), hn::Mul(hn::Mul(mu, r), share)};
}

// log((1 + e^t) / (1 + e^s)) and the logistic functions of both.
struct Softplus {
  V difference;
  V sigmoid_t;
  V sigmoid_s;
};

HWY_INLINE Softplus SoftplusDifference(V t, V s) {
  const V zero = hn::Zero(kTag);
  const V et = Exp(kTag, hn::Neg(hn::Abs(t)));
  const V es = Exp(kTag, hn::Neg(hn::Abs(s)));
  const V at = hn::Add(One(), et);
  const V as = hn::Add(One(), es);
  const V rt = hn::Div(One(), at);
  const V rs = hn::Div(One(), as);
  const V linear = hn::Sub(hn::Max(zero, t), hn::Max(zero, s));
  return {hn::Add(linear, Log(kTag, hn::Mul(at, rs))),
          hn::Mul(hn::IfThenElse(hn::Lt(t, zero), et, One()), rt),
          hn::Mul(hn::IfThenElse(hn::Lt(s, zero), es, One()), rs)};
}

// The result's gradients by log mu and by the dropout logit.
struct Gene {
  V loss;
  V by_log_rate;
  V by_dropout;
};

template <CountLikelihood kLikelihood>
HWY_INLINE Gene ZeroCount(V mu, V theta, V inverse, V share, V dropout) {
  if constexpr (kLikelihood == CountLikelihood::kPoisson) return {mu, mu, mu};
  const Rate rate = RateOf(mu, inverse, share);
  if constexpr (kLikelihood == CountLikelihood::kNb) {
    return {hn::Mul(theta, rate.log1p), rate.pull, mu};
  }
  const V s = hn::Neg(dropout);
  const V t = hn::NegMulAdd(theta, rate.log1p, s);
  const Softplus softplus = SoftplusDifference(t, s);
  return {hn::Neg(softplus.difference), hn::Mul(softplus.sigmoid_t, rate.pull),
          hn::Sub(softplus.sigmoid_t, softplus.sigmoid_s)};
}

template <CountLikelihood kLikelihood>
HWY_INLINE Gene NonzeroCount(V x, V mu, V theta, V inverse, V share, V dropout) {
  if constexpr (kLikelihood == CountLikelihood::kPoisson) {
    const V bounded = hn::Max(hn::Set(kTag, kSmallestNormal), mu);
    const V moving = hn::IfThenElseZero(hn::Ge(mu, hn::Set(kTag, kSmallestNormal)), x);
    return {hn::NegMulAdd(x, Log(kTag, bounded), mu), hn::Sub(mu, moving), mu};
  }
  const V epsilon = hn::Set(kTag, kEpsilon);
  const Rate rate = RateOf(mu, inverse, share);
  const V above = hn::Add(mu, epsilon);
  const V all = hn::Add(hn::Add(theta, mu), epsilon);
  const V log_share = hn::Sub(Log(kTag, above), Log(kTag, all));
  const V pull = hn::Sub(hn::Div(mu, above), hn::Div(mu, all));
  const V loss = hn::NegMulAdd(x, log_share, hn::Mul(theta, rate.log1p));
  const V by_log_rate = hn::NegMulAdd(x, pull, rate.pull);
  if constexpr (kLikelihood == CountLikelihood::kNb) return {loss, by_log_rate, mu};
  // -log p adds softplus(s) - s = softplus(dropout).
  const Softplus softplus = SoftplusDifference(hn::Zero(kTag), dropout);
  const V from_zero = hn::Sub(hn::Set(kTag, 0.693147181f), softplus.difference);
  return {hn::Add(loss, from_zero), by_log_rate, softplus.sigmoid_s};
}

// The gradients of the non-zero counts, one after the other.
struct NonzeroGradients {
  float* by_log_rate;
  float* by_dropout;
};

// A loss and the sum of its gradients by log mu, lanes apart.
struct Totals {
  V loss;
  V slope;
};

HWY_INLINE VI GenesAt(const CellCounts& cell, int64_t i, hn::Mask<D> used) {
  return hn::MaskedLoad(hn::RebindMask(kIndexTag, used), kIndexTag, cell.genes.data() + i);
}

// The non-zero counts. `e` times `scale` is mu.
template <CountLikelihood kLikelihood>
HWY_INLINE void AddNonzeros(const GeneDispersion& dispersion, const CellCounts& cell, V scale,
                            const float* HWY_RESTRICT e, const float* HWY_RESTRICT dropout,
                            const NonzeroGradients& out, Totals& totals) {
  constexpr bool kZinb = kLikelihood == CountLikelihood::kZinb;
  const auto n = static_cast<int64_t>(cell.genes.size());
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto used = hn::FirstN(kTag, static_cast<size_t>(HWY_MIN(kLanes, n - i)));
    const VI genes = GenesAt(cell, i, used);
    const V x = hn::MaskedLoad(used, kTag, cell.counts.data() + i);
    const V mu = hn::Mul(hn::GatherIndex(kTag, e, genes), scale);
    const V theta = hn::GatherIndex(kTag, dispersion.theta(), genes);
    const V inverse = hn::GatherIndex(kTag, dispersion.inverse(), genes);
    const V share = hn::GatherIndex(kTag, dispersion.share(), genes);
    V logits = hn::Zero(kTag);
    if constexpr (kZinb) logits = hn::GatherIndex(kTag, dropout, genes);
    const Gene gene = NonzeroCount<kLikelihood>(x, mu, theta, inverse, share, logits);
    totals.loss = hn::Add(totals.loss, hn::IfThenElseZero(used, gene.loss));
    totals.slope = hn::Add(totals.slope, hn::IfThenElseZero(used, gene.by_log_rate));
    hn::StoreU(gene.by_log_rate, kTag, out.by_log_rate + i);
    if constexpr (kZinb) hn::StoreU(gene.by_dropout, kTag, out.by_dropout + i);
  }
}

// What all genes gave as zeros is taken back for the non-zero counts.
HWY_INLINE void SubtractZeros(const CellCounts& cell, const float* HWY_RESTRICT loss,
                              const float* HWY_RESTRICT by_log_rate, Totals& totals) {
  const auto n = static_cast<int64_t>(cell.genes.size());
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto used = hn::FirstN(kTag, static_cast<size_t>(HWY_MIN(kLanes, n - i)));
    const VI genes = GenesAt(cell, i, used);
    const V zero_loss = hn::GatherIndex(kTag, loss, genes);
    const V zero_slope = hn::GatherIndex(kTag, by_log_rate, genes);
    totals.loss = hn::Sub(totals.loss, hn::IfThenElseZero(used, zero_loss));
    totals.slope = hn::Sub(totals.slope, hn::IfThenElseZero(used, zero_slope));
  }
}

// e^(logit - max) in place; returns their sum.
HWY_INLINE float Exponentials(int64_t padded, float* HWY_RESTRICT logits) {
  V most = hn::Load(kTag, logits);
  for (int64_t g = kLanes; g < padded; g += kLanes) {
    most = hn::Max(most, hn::Load(kTag, logits + g));
  }
  most = hn::MaxOfLanes(kTag, most);
  V sum = hn::Zero(kTag);
  for (int64_t g = 0; g < padded; g += kLanes) {
    const V shifted = hn::Sub(hn::Load(kTag, logits + g), most);
    // Exp has a smallest value; a probability below it is none.
    const V e = hn::IfThenZeroElse(hn::Lt(shifted, hn::Set(kTag, -87.0f)), Exp(kTag, shifted));
    hn::Store(e, kTag, logits + g);
    sum = hn::Add(sum, e);
  }
  return Sum(sum);
}

template <CountLikelihood kLikelihood>
float Reconstruction(const GeneDispersion& dispersion, const CellCounts& cell, int64_t genes,
                     float* HWY_RESTRICT logits, float* HWY_RESTRICT scratch) {
  constexpr bool kZinb = kLikelihood == CountLikelihood::kZinb;
  const int64_t padded = PaddedWidth(genes);
  float* HWY_RESTRICT dropout = logits + padded;
  const NonzeroGradients nonzero = {scratch + padded, scratch + 2 * padded};
  float* HWY_RESTRICT zero_loss = scratch + 3 * padded;
  const V scale = hn::Set(kTag, cell.total / Exponentials(padded, logits));
  Totals nonzeros = {hn::Zero(kTag), hn::Zero(kTag)};
  AddNonzeros<kLikelihood>(dispersion, cell, scale, logits, dropout, nonzero, nonzeros);
  Totals zeros = {hn::Zero(kTag), hn::Zero(kTag)};
  for (int64_t g = 0; g < padded; g += kLanes) {
    const V mu = hn::Mul(hn::Load(kTag, logits + g), scale);
    V d = hn::Zero(kTag);
    if constexpr (kZinb) d = hn::Load(kTag, dropout + g);
    const Gene gene = ZeroCount<kLikelihood>(mu, hn::Load(kTag, dispersion.theta() + g),
                                             hn::Load(kTag, dispersion.inverse() + g),
                                             hn::Load(kTag, dispersion.share() + g), d);
    zeros.loss = hn::Add(zeros.loss, gene.loss);
    zeros.slope = hn::Add(zeros.slope, gene.by_log_rate);
    hn::Store(mu, kTag, logits + g);
    hn::Store(gene.by_log_rate, kTag, scratch + g);
    hn::Store(gene.loss, kTag, zero_loss + g);
    if constexpr (kZinb) hn::Store(gene.by_dropout, kTag, dropout + g);
  }
  SubtractZeros(cell, zero_loss, scratch, zeros);
  for (size_t i = 0; i < cell.genes.size(); ++i) {
    scratch[cell.genes[i]] = nonzero.by_log_rate[i];
    if constexpr (kZinb) dropout[cell.genes[i]] = nonzero.by_dropout[i];
  }
  // Through the softmax; mu / total is its value.
  const V pull =
      hn::Set(kTag, cell.total > 0 ? (Sum(zeros.slope) + Sum(nonzeros.slope)) / cell.total : 0.0f);
  for (int64_t g = 0; g < padded; g += kLanes) {
    const V mu = hn::Load(kTag, logits + g);
    hn::Store(hn::NegMulAdd(mu, pull, hn::Load(kTag, scratch + g)), kTag, logits + g);
  }
  return Sum(zeros.loss) + Sum(nonzeros.loss);
}

float ReconstructionOfCell(CountLikelihood likelihood, const GeneDispersion& dispersion,
                           const CellCounts& cell, int64_t genes, float* logits, float* scratch) {
  switch (likelihood) {
    case CountLikelihood::kNb:
      return Reconstruction<CountLikelihood::kNb>(dispersion, cell, genes, logits, scratch);
    case CountLikelihood::kZinb:
      return Reconstruction<CountLikelihood::kZinb>(dispersion, cell, genes, logits, scratch);
    case CountLikelihood::kPoisson:
      break;
  }
  return Reconstruction<CountLikelihood::kPoisson>(dispersion, cell, genes, logits, scratch);
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(ReconstructionOfCell);

GeneDispersion::GeneDispersion(std::span<const float> theta)
    : theta_(PaddedWidth(static_cast<int64_t>(theta.size()))),
      inverse_(theta_.size()),
      share_(theta_.size()) {
  constexpr double kEpsilon = 1e-8;
  constexpr float kMostTheta = 1e30f;  // Poisson long before
  for (int64_t g = 0; g < theta_.size(); ++g) {
    const bool gene = g < static_cast<int64_t>(theta.size());
    const double value = gene ? std::min(theta[g], kMostTheta) : 1.0f;
    theta_[g] = static_cast<float>(value);
    inverse_[g] = static_cast<float>(1 / (value + kEpsilon));
    share_[g] = static_cast<float>(value / (value + kEpsilon));
  }
}

float ReconstructionAndGradient(CountLikelihood likelihood, const GeneDispersion& dispersion,
                                const CellCounts& cell, int64_t genes, float* logits,
                                float* scratch) {
  return HWY_DYNAMIC_DISPATCH(ReconstructionOfCell)(likelihood, dispersion, cell, genes, logits,
                                                    scratch);
}

}  // namespace portolan
#endif  // HWY_ONCE
