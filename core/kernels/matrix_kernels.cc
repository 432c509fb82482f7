#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "core/kernels/layers.h"
#include "hwy/cache_control.h"

// The order of these matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/matrix_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/base/vector_math-inl.h"
#include "core/kernels/lane_sums-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace portolan::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr D kTag;
constexpr size_t kLanes = hn::MaxLanes(kTag);
constexpr size_t kVectors = kPanel / kLanes;
// Rows whose products run side by side: enough chains to hide the latency of a multiply-add.
constexpr size_t kRowsAtOnce = kVectors <= 4 ? 2 : 1;
// Panels of a gradient that stay in registers.
constexpr int64_t kGradientPanels = kVectors <= 4 ? 4 : 1;

// Inputs whose weights, over so many panels, stay in the L1 cache while all rows visit them.
HWY_INLINE constexpr int64_t InputsAtOnce(int64_t panels) { return 128 / panels; }
static_assert(InputsAtOnce(kGradientPanels) % ActiveRows::kMark == 0);

HWY_INLINE void Prefetch(const float* HWY_RESTRICT from, int64_t floats) {
  for (int64_t i = 0; i < floats; i += 16) hwy::Prefetch(from + i);
}

// The active inputs of a row that one visit of a panel takes.
struct Visit {
  const float* values;
  const uint32_t* offsets;
  int32_t count;
  const float* start;  // of the sums: the bias, or what earlier visits left
  float* out;
};

// The products of the inputs from `from` on.
HWY_INLINE void AddInputs(const Visit& row, int32_t from, const float* HWY_RESTRICT panel,
                          V* HWY_RESTRICT sums) {
  for (int32_t i = from; i < row.count; ++i) {
    const V x = hn::Set(kTag, row.values[i]);
    const float* HWY_RESTRICT weights = panel + row.offsets[i];
    for (size_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::MulAdd(x, hn::Load(kTag, weights + v * kLanes), sums[v]);
    }
  }
}

HWY_INLINE void OneRow(const Visit& row, const float* HWY_RESTRICT panel) {
  V sums[kVectors];
  for (size_t v = 0; v < kVectors; ++v) sums[v] = hn::Load(kTag, row.start + v * kLanes);
  AddInputs(row, 0, panel, sums);
  for (size_t v = 0; v < kVectors; ++v) hn::Store(sums[v], kTag, row.out + v * kLanes);
}

HWY_INLINE void TwoRows(const Visit& row0, const Visit& row1, const float* HWY_RESTRICT panel) {
  V sums0[kVectors];
  V sums1[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    sums0[v] = hn::Load(kTag, row0.start + v * kLanes);
    sums1[v] = hn::Load(kTag, row1.start + v * kLanes);
  }
  const int32_t both = HWY_MIN(row0.count, row1.count);
  for (int32_t i = 0; i < both; ++i) {
    const V x0 = hn::Set(kTag, row0.values[i]);
    const V x1 = hn::Set(kTag, row1.values[i]);
    const float* HWY_RESTRICT weights0 = panel + row0.offsets[i];
    const float* HWY_RESTRICT weights1 = panel + row1.offsets[i];
    for (size_t v = 0; v < kVectors; ++v) {
      sums0[v] = hn::MulAdd(x0, hn::Load(kTag, weights0 + v * kLanes), sums0[v]);
      sums1[v] = hn::MulAdd(x1, hn::Load(kTag, weights1 + v * kLanes), sums1[v]);
    }
  }
  AddInputs(row0, both, panel, sums0);
  AddInputs(row1, both, panel, sums1);
  for (size_t v = 0; v < kVectors; ++v) {
    hn::Store(sums0[v], kTag, row0.out + v * kLanes);
    hn::Store(sums1[v], kTag, row1.out + v * kLanes);
  }
}

// Inputs whose weights stay in the L1 cache while all rows visit them. Visits go on where the one
// before stopped, so that the bits do not depend on it.
constexpr int64_t kMostInputs = 128;

void MultiplyBlock(const PackedMatrix& w, const ActiveRows& in, int64_t rows, float* out) {
  const int64_t stride = w.stride();
  const int64_t chunks = HWY_MAX(int64_t{1}, (w.inputs() + kMostInputs - 1) / kMostInputs);
  for (int64_t p = 0; p < w.panels(); ++p) {
    const float* panel = w.panel(p);
    // The next panel is fetched in as many parts as there are visits.
    const float* next = panel + w.inputs() * kPanel;
    const int64_t visits = rows * chunks;
    const int64_t part = p + 1 < w.panels() ? (w.inputs() * kPanel + visits - 1) / visits : 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const auto visit = [&](int64_t r) HWY_ATTR {
        const int64_t k = chunk * kMostInputs;
        float* sums = out + r * stride + p * kPanel;
        const int32_t begin = in.below(r, k);
        return Visit{in.values(r) + begin, in.offsets(r) + begin,
                     in.below(r, k + kMostInputs) - begin, k == 0 ? w.bias() + p * kPanel : sums,
                     sums};
      };
      int64_t r = 0;
      if constexpr (kRowsAtOnce == 2) {
        for (; r + 2 <= rows; r += 2) {
          Prefetch(next + (chunk * rows + r) * part, 2 * part);
          TwoRows(visit(r), visit(r + 1), panel);
        }
      }
      for (; r < rows; ++r) OneRow(visit(r), panel);
    }
  }
}

// The products of one row's gradient with the weights of an active input, over kPanels panels of
// outputs; lanes apart.
template <int64_t kPanels>
HWY_INLINE V Products(const V* HWY_RESTRICT g, const std::array<const float*, kPanels>& panels,
                      uint32_t offset) {
  V sum = hn::Zero(kTag);
  for (int64_t p = 0; p < kPanels; ++p) {
    const float* HWY_RESTRICT weights = panels[p] + offset;
    V part = hn::Mul(g[p * kVectors], hn::Load(kTag, weights));
    for (size_t v = 1; v < kVectors; ++v) {
      part = hn::MulAdd(g[p * kVectors + v], hn::Load(kTag, weights + v * kLanes), part);
    }
    sum = p == 0 ? part : hn::Add(sum, part);
  }
  return sum;
}

// Where the products of a row go over the panels of outputs: lanes apart from panel to panel, as
// numbers with the last.
struct RowSums {
  float* lanes;
  float* out;
  bool first;
  bool last;
};

template <int64_t kPanels>
HWY_INLINE void AddGradients(const PackedMatrix& w, int64_t panel,
                             const float* HWY_RESTRICT gradient,
                             const uint32_t* HWY_RESTRICT offsets, int32_t begin, int32_t end,
                             const RowSums& sums) {
  std::array<const float*, kPanels> panels;
  for (int64_t p = 0; p < kPanels; ++p) panels[p] = w.panel(panel + p);
  V g[kPanels * kVectors];
  for (size_t v = 0; v < kPanels * kVectors; ++v) g[v] = hn::Load(kTag, gradient + v * kLanes);
  const auto sum_of = [&](int32_t i) HWY_ATTR {
    const V sum = Products<kPanels>(g, panels, offsets[i]);
    return sums.first ? sum : hn::Add(sum, hn::Load(kTag, sums.lanes + i * kLanes));
  };
  int32_t i = begin;
  if (!sums.last) {
    for (; i < end; ++i) hn::Store(sum_of(i), kTag, sums.lanes + i * kLanes);
    return;
  }
  for (; i + kQuad <= end; i += kQuad) {
    const V four[kQuad] = {sum_of(i), sum_of(i + 1), sum_of(i + 2), sum_of(i + 3)};
    HWY_ALIGN float out[kQuad];
    StoreSums(kTag, four, out);
    for (int32_t j = 0; j < kQuad; ++j) sums.out[offsets[i + j] / kPanel] = out[j];
  }
  for (; i < end; ++i) {
    sums.out[offsets[i] / kPanel] = hn::GetLane(hn::SumOfLanes(kTag, sum_of(i)));
  }
}

template <typename... Arguments>
HWY_INLINE void AddPanels(int64_t panels, const Arguments&... arguments) {
  if constexpr (kGradientPanels == 4) {
    if (panels == 4) return AddGradients<4>(arguments...);
    if (panels == 3) return AddGradients<3>(arguments...);
    if (panels == 2) return AddGradients<2>(arguments...);
  }
  AddGradients<1>(arguments...);
}

void MultiplyTransposedBlock(const PackedMatrix& w, const ActiveRows& in, int64_t rows,
                             const float* gradient, float* out, int64_t out_stride,
                             float* scratch) {
  const int64_t stride = w.stride();
  const int64_t row_sums = w.inputs() * static_cast<int64_t>(kLanes);
  std::fill(out, out + rows * out_stride, 0.0f);
  const int64_t inputs = InputsAtOnce(HWY_MIN(kGradientPanels, w.panels()));
  const int64_t step = (inputs + ActiveRows::kMark - 1) / ActiveRows::kMark * ActiveRows::kMark;
  for (int64_t p = 0; p < w.panels(); p += kGradientPanels) {
    const int64_t panels = HWY_MIN(kGradientPanels, w.panels() - p);
    const bool last = p + kGradientPanels >= w.panels();
    for (int64_t k = 0; k < w.inputs(); k += step) {
      for (int64_t r = 0; r < rows; ++r) {
        const float* g = gradient + r * stride + p * kPanel;
        const RowSums sums = {scratch + r * row_sums, out + r * out_stride, p == 0, last};
        AddPanels(panels, w, p, g, in.offsets(r), in.below(r, k), in.below(r, k + step), sums);
      }
    }
  }
}

// One pass over a cell's counts for kWidth vectors of outputs.
template <size_t kWidth>
HWY_INLINE void SparseColumns(std::span<const int32_t> genes, const float* HWY_RESTRICT values,
                              const float* HWY_RESTRICT weight_t, int64_t width,
                              float* HWY_RESTRICT out) {
  V sums[kWidth];
  for (size_t v = 0; v < kWidth; ++v) sums[v] = hn::LoadU(kTag, out + v * kLanes);
  for (size_t i = 0; i < genes.size(); ++i) {
    const V x = hn::Set(kTag, values[i]);
    const float* HWY_RESTRICT weights = weight_t + genes[i] * width;
    for (size_t v = 0; v < kWidth; ++v) {
      sums[v] = hn::MulAdd(x, hn::LoadU(kTag, weights + v * kLanes), sums[v]);
    }
  }
  for (size_t v = 0; v < kWidth; ++v) hn::StoreU(sums[v], kTag, out + v * kLanes);
}

void SparseRowBlock(std::span<const int32_t> genes, std::span<const float> counts,
                    const float* weight_t, const float* bias, int64_t width, bool log1p_counts,
                    float* scratch, float* out) {
  const float* values = counts.data();
  if (log1p_counts) {
    for (size_t i = 0; i < counts.size(); i += kLanes) {
      const size_t n = HWY_MIN(kLanes, counts.size() - i);
      const V x = hn::MaskedLoad(hn::FirstN(kTag, n), kTag, counts.data() + i);
      const V u = hn::Add(x, hn::Set(kTag, 1.0f));
      hn::StoreU(Log1p(kTag, x, u, hn::Div(hn::Set(kTag, 1.0f), u)), kTag, scratch + i);
    }
    values = scratch;
  }
  std::fill(out, out + PaddedWidth(width), 0.0f);
  std::copy(bias, bias + width, out);
  int64_t at = 0;
  constexpr int64_t kWide = 8 * kLanes;
  for (; at + kWide <= width; at += kWide) {
    SparseColumns<8>(genes, values, weight_t + at, width, out + at);
  }
  for (; at + static_cast<int64_t>(kLanes) <= width; at += kLanes) {
    SparseColumns<1>(genes, values, weight_t + at, width, out + at);
  }
  for (size_t i = 0; at < width && i < genes.size(); ++i) {
    for (int64_t j = at; j < width; ++j) out[j] += values[i] * weight_t[genes[i] * width + j];
  }
}

int64_t ScratchPerInput() { return static_cast<int64_t>(kLanes); }

const char* Target() {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return "AVX512";
#else
  return hwy::TargetName(HWY_TARGET);
#endif
}

}  // namespace portolan::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace portolan {

HWY_EXPORT(MultiplyBlock);
HWY_EXPORT(MultiplyTransposedBlock);
HWY_EXPORT(SparseRowBlock);
HWY_EXPORT(ScratchPerInput);
HWY_EXPORT(Target);

namespace {

// Before the first choice of a target, hence before main.
const bool kPinned = [] {
  const char* wanted = std::getenv("PORTOLAN_KERNELS");
  if (wanted != nullptr && std::string_view(wanted) == "avx2") {
    hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
  }
  return true;
}();

}  // namespace

void Multiply(const PackedMatrix& w, const ActiveRows& in, int64_t rows, float* out) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlock)(w, in, rows, out);
}

void MultiplyTransposed(const PackedMatrix& w, const ActiveRows& in, int64_t rows,
                        const float* gradient, float* out, int64_t out_stride, float* scratch) {
  HWY_DYNAMIC_DISPATCH(MultiplyTransposedBlock)
  (w, in, rows, gradient, out, out_stride, scratch);
}

int64_t MultiplyTransposedScratch(int64_t rows, const PackedMatrix& w) {
  return rows * w.inputs() * HWY_DYNAMIC_DISPATCH(ScratchPerInput)();
}

void SparseRow(std::span<const int32_t> genes, std::span<const float> counts, const float* weight_t,
               const float* bias, int64_t width, bool log1p_counts, float* scratch, float* out) {
  HWY_DYNAMIC_DISPATCH(SparseRowBlock)
  (genes, counts, weight_t, bias, width, log1p_counts, scratch, out);
}

const char* KernelInstructionSet() {
  static_cast<void>(kPinned);
  return HWY_DYNAMIC_DISPATCH(Target)();
}

}  // namespace portolan
#endif  // HWY_ONCE
