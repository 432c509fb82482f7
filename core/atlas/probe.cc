#include "core/atlas/probe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/base/philox.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr int64_t kMostCells = 1024;
constexpr int64_t kCellsPerBatch = 16;
constexpr float kDetectionRate = 0.1f;

struct Probe {
  CsrMatrix counts;
  std::vector<int32_t> codes;
};

// Sparse counts with a long tail, the same for every run.
Probe MakeProbe(int64_t genes, int64_t batches) {
  const uint64_t key = RandomKey(0, "probe");
  Probe probe;
  probe.counts.cols = genes;
  const int64_t cells = std::min(kMostCells, kCellsPerBatch * batches);
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (int64_t gene = 0; gene < genes; ++gene) {
      std::array<float, 2> u;
      FillUniform(key, RandomUse::kProbe, 0, static_cast<uint64_t>(cell * genes + gene), u);
      if (u[0] >= kDetectionRate) continue;
      probe.counts.columns.push_back(static_cast<int32_t>(gene));
      probe.counts.values.push_back(std::floor(1 - 3 * std::log(1 - u[1])));
    }
    probe.counts.row_offsets.push_back(probe.counts.nonzeros());
    probe.codes.push_back(static_cast<int32_t>(cell % batches));
  }
  return probe;
}

// Every category comes up; continuous covariates spread around 0.
CellAnnotations AnnotationsOf(const Architecture& a, int64_t cells) {
  const uint64_t key = RandomKey(0, "probe");
  CellAnnotations annotations;
  annotations.n_categorical = static_cast<int64_t>(a.n_cats_per_cov.size());
  annotations.n_continuous = a.n_continuous_covs;
  annotations.continuous.resize(cells * a.n_continuous_covs);
  FillNormal(key, RandomUse::kProbe, 1, 0, annotations.continuous);
  for (int64_t i = 0; i < cells * annotations.n_categorical; ++i) {
    const auto n = static_cast<uint64_t>(a.n_cats_per_cov[i % annotations.n_categorical]);
    const uint64_t bits = RandomBits(key, RandomUse::kProbe, 2, static_cast<uint64_t>(i));
    annotations.categorical.push_back(static_cast<int32_t>(bits % n));
  }
  return annotations;
}

}  // namespace

absl::StatusOr<double> MaxProbeShift(const Model& parent, const Model& child) {
  const Architecture& a = parent.description().architecture;
  const Probe probe = MakeProbe(a.n_genes, std::max<int64_t>(1, a.n_batch));
  const CellAnnotations annotations = AnnotationsOf(a, probe.counts.rows());
  PORTOLAN_ASSIGN_OR_RETURN(
      const Embedding before,
      Encode(parent, {probe.counts, probe.codes, annotations}, CancelToken()));
  PORTOLAN_ASSIGN_OR_RETURN(const Embedding after,
                            Encode(child, {probe.counts, probe.codes, annotations}, CancelToken()));
  // Of a logistic-normal latent the normal's own mean, which its softmax could hide.
  const std::vector<float>& was = before.location.empty() ? before.mean : before.location;
  const std::vector<float>& is = after.location.empty() ? after.mean : after.location;
  double shift = 0;
  for (size_t i = 0; i < was.size(); ++i) {
    const double d = std::abs(static_cast<double>(was[i]) - is[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    shift = std::max(shift, d);
  }
  return shift;
}

}  // namespace portolan
