#include "core/kernels/bf16_matrix.h"

#include <algorithm>
#include <bit>

// Highway of Debian 12 has no name for the instruction that this is about.
#if defined(__x86_64__)
#include <immintrin.h>
#define PORTOLAN_BF16 1
#define PORTOLAN_BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#endif

namespace portolan {
namespace {

// Round to nearest, ties to even; a NaN stays one.
uint32_t RoundToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits | 0x00400000u) >> 16;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

}  // namespace

Bf16Matrix::Bf16Matrix(const PackedMatrix& w)
    : inputs_(w.inputs()), panels_(w.panels()), weights_(inputs_ * stride() / 2) {
  for (int64_t p = 0; p < panels_; ++p) {
    const int64_t group = p / kGroup;
    const int64_t width = PanelsOf(group) * kPanel;
    const int64_t at = group * kGroup * inputs_ * kPanel + p % kGroup * kPanel;
    for (int64_t k = 0; k < inputs_; ++k) {
      const float* row = w.panel(p) + k * kPanel;
      for (int64_t o = 0; o < kPanel; o += 2) {
        weights_[(at + k * width + o) / 2] = RoundToBf16(row[o + 1]) << 16 | RoundToBf16(row[o]);
      }
    }
  }
}

Bf16Matrix::Scratch::Scratch(const Bf16Matrix& w, int64_t max_rows)
    : gradient(max_rows * w.stride() / 2), sums(max_rows * w.inputs_ * 16) {}

#ifdef PORTOLAN_BF16

namespace {

constexpr int64_t kLanes = 16;

PORTOLAN_BF16_TARGET inline __m512bh LoadBf16(const uint32_t* from) {
  return (__m512bh)_mm512_load_si512(from);
}

// Products of one row's gradient with the weights of active inputs, over a group's outputs.
struct GroupRow {
  const uint32_t* gradient;
  const uint32_t* weights;
  const uint32_t* offsets;
  int32_t begin;
  int32_t end;
  float* sums;
  bool first;
};

template <int kPanels>
PORTOLAN_BF16_TARGET void AddGroup(const GroupRow& row) {
  constexpr int kWords = kPanels * 2;  // vectors
  constexpr int kChains = kPanels == 1 ? 2 : 4;
  __m512bh g[kWords];
  for (int v = 0; v < kWords; ++v) g[v] = LoadBf16(row.gradient + v * kLanes);
  for (int32_t i = row.begin; i < row.end; ++i) {
    const uint32_t* weights = row.weights + row.offsets[i] / kPanel * (kWords * kLanes);
    __m512 chains[kChains];
    for (int c = 0; c < kChains; ++c) {
      chains[c] = _mm512_dpbf16_ps(_mm512_setzero_ps(), g[c], LoadBf16(weights + c * kLanes));
    }
    for (int v = kChains; v < kWords; ++v) {
      chains[v % kChains] =
          _mm512_dpbf16_ps(chains[v % kChains], g[v], LoadBf16(weights + v * kLanes));
    }
    __m512 sum = chains[0];
    for (int c = 1; c < kChains; ++c) sum = _mm512_add_ps(sum, chains[c]);
    float* lanes = row.sums + i * kLanes;
    if (!row.first) sum = _mm512_add_ps(sum, _mm512_load_ps(lanes));
    _mm512_store_ps(lanes, sum);
  }
}

constexpr void (*kAddGroup[])(const GroupRow&) = {
    nullptr,     AddGroup<1>, AddGroup<2>, AddGroup<3>, AddGroup<4>,
    AddGroup<5>, AddGroup<6>, AddGroup<7>, AddGroup<8>,
};

// The sum of 16 lanes; halves of a vector by shuffles that leave nothing undefined.
PORTOLAN_BF16_TARGET inline float SumOfLanes(__m512 v) {
  constexpr __mmask16 kAll = 0xffff;
  v = _mm512_add_ps(v, _mm512_maskz_shuffle_f32x4(kAll, v, v, 0x4e));
  v = _mm512_add_ps(v, _mm512_maskz_shuffle_f32x4(kAll, v, v, 0xb1));
  __m128 quarter = _mm512_castps512_ps128(v);
  quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

PORTOLAN_BF16_TARGET void ReduceRow(const float* sums, const uint32_t* offsets, int32_t count,
                                    float* out) {
  for (int32_t i = 0; i < count; ++i) {
    out[offsets[i] / kPanel] = SumOfLanes(_mm512_load_ps(sums + i * kLanes));
  }
}

PORTOLAN_BF16_TARGET void RoundRow(const float* from, int64_t count, uint32_t* to) {
  for (int64_t at = 0; at < count; at += 2 * kLanes) {
    const __m512bh both =
        _mm512_cvtne2ps_pbh(_mm512_load_ps(from + at + kLanes), _mm512_load_ps(from + at));
    _mm512_store_si512(to + at / 2, (__m512i)both);
  }
}

}  // namespace

bool Bf16Matrix::Supported() {
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

void Bf16Matrix::MultiplyTransposed(const ActiveRows& in, int64_t rows, const float* gradient,
                                    float* out, int64_t out_stride, Scratch& scratch) const {
  constexpr int64_t kInputsAtOnce = ActiveRows::kMark;
  const int64_t words = stride() / 2;
  for (int64_t r = 0; r < rows; ++r) {
    RoundRow(gradient + r * stride(), stride(), scratch.gradient.data() + r * words);
  }
  for (int64_t group = 0; group < groups(); ++group) {
    const auto add = kAddGroup[PanelsOf(group)];
    for (int64_t k = 0; k < inputs_; k += kInputsAtOnce) {
      for (int64_t r = 0; r < rows; ++r) {
        add({scratch.gradient.data() + r * words + group * kGroup * kPanel / 2,
             weights_.data() + group * kGroup * inputs_ * kPanel / 2, in.offsets(r), in.below(r, k),
             in.below(r, k + kInputsAtOnce), scratch.sums.data() + r * inputs_ * kLanes,
             group == 0});
      }
    }
  }
  std::fill(out, out + rows * out_stride, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    ReduceRow(scratch.sums.data() + r * inputs_ * kLanes, in.offsets(r), in.count(r),
              out + r * out_stride);
  }
}

#else

bool Bf16Matrix::Supported() { return false; }
void Bf16Matrix::MultiplyTransposed(const ActiveRows&, int64_t, const float*, float*, int64_t,
                                    Scratch&) const {}

#endif

}  // namespace portolan
