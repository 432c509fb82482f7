#include "server/cell_inputs_block.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"

namespace portolan::server {
namespace {

/// One array of a block: rows x width values of T.
template <typename T>
absl::Status ReadArray(const std::string& bytes, std::string_view field, int64_t rows,
                       int64_t width, std::string_view where, std::vector<T>& out) {
  if (static_cast<int64_t>(bytes.size()) != rows * width * static_cast<int64_t>(sizeof(T))) {
    return BlockError(
        where, field, absl::StrCat(bytes.size(), " bytes for ", rows, " cells"),
        absl::StrCat("The model reads ", width, " values of ", sizeof(T), " bytes for each cell."));
  }
  out.resize(rows * width);
  if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

template <typename T>
absl::Status ReadProteins(const v1::CountBlock& block, int64_t width, std::string_view where,
                          DecodedBlock& out) {
  std::vector<T> raw;
  PORTOLAN_RETURN_IF_ERROR(
      ReadArray(block.proteins(), "proteins", out.counts.rows(), width, where, raw));
  out.proteins.n_proteins = width;
  out.proteins.values.assign(raw.begin(), raw.end());
  for (size_t i = 0; i < out.proteins.values.size(); ++i) {
    const float value = out.proteins.values[i];
    // Written so that NaN fails.
    if (value >= 0 && value <= kMaxCount && value == std::floor(value)) continue;
    return BlockError(where, "proteins", absl::StrFormat("%.9g in row %d", value, i / width),
                      "Send raw counts: whole numbers from 0 to 16777216.");
  }
  return absl::OkStatus();
}

absl::Status ReadProteinsOfType(const v1::CountBlock& block, const CountBlockBounds& bounds,
                                std::string_view where, DecodedBlock& out) {
  if (block.proteins().empty() && !bounds.need_proteins) return absl::OkStatus();
  switch (block.protein_type()) {
    case v1::UINT8:
      return ReadProteins<uint8_t>(block, bounds.n_proteins, where, out);
    case v1::UINT16:
      return ReadProteins<uint16_t>(block, bounds.n_proteins, where, out);
    case v1::FLOAT32:
      return ReadProteins<float>(block, bounds.n_proteins, where, out);
    default:
      return BlockError(where, "protein_type", absl::StrCat(static_cast<int>(block.protein_type())),
                        "Send UINT8, UINT16 or FLOAT32, and proteins if they were announced.");
  }
}

absl::Status CheckCodes(const std::vector<int32_t>& codes, std::string_view field,
                        std::string_view where, int64_t width, int32_t lowest,
                        const std::vector<int64_t>& sizes) {
  for (size_t i = 0; i < codes.size(); ++i) {
    const int64_t size = sizes[i % width];
    if (codes[i] >= lowest && codes[i] < size) continue;
    return BlockError(where, field, absl::StrCat(codes[i], " in row ", i / width),
                      absl::StrCat("Codes of the model are from ", lowest, " to ", size - 1, "."));
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(const std::vector<float>& values, std::string_view field,
                          std::string_view where, int64_t width, bool positive) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i]) && (!positive || values[i] > 0)) continue;
    return BlockError(where, field, absl::StrFormat("%g in row %d", values[i], i / width),
                      positive ? "Send positive numbers." : "Send finite numbers.");
  }
  return absl::OkStatus();
}

absl::Status ReadAnnotations(const v1::CountBlock& block, const CountBlockBounds& bounds,
                             std::string_view where, DecodedBlock& out) {
  const int64_t rows = out.counts.rows();
  CellAnnotations& a = out.annotations;
  a.n_categorical = static_cast<int64_t>(bounds.n_categories.size());
  a.n_continuous = bounds.n_continuous;
  const auto skipped = [&](const std::string& bytes) { return bounds.encoding && bytes.empty(); };
  if (!skipped(block.categorical_covariates())) {
    PORTOLAN_RETURN_IF_ERROR(ReadArray(block.categorical_covariates(), "categorical_covariates",
                                       rows, a.n_categorical, where, a.categorical));
    PORTOLAN_RETURN_IF_ERROR(CheckCodes(a.categorical, "categorical_covariates", where,
                                        a.n_categorical, 0, bounds.n_categories));
  }
  if (!skipped(block.continuous_covariates())) {
    PORTOLAN_RETURN_IF_ERROR(ReadArray(block.continuous_covariates(), "continuous_covariates", rows,
                                       a.n_continuous, where, a.continuous));
    PORTOLAN_RETURN_IF_ERROR(
        CheckNumbers(a.continuous, "continuous_covariates", where, a.n_continuous, false));
  }
  if (!skipped(block.size_factors())) {
    PORTOLAN_RETURN_IF_ERROR(ReadArray(block.size_factors(), "size_factors", rows,
                                       bounds.size_factor ? 1 : 0, where, a.size_factors));
    PORTOLAN_RETURN_IF_ERROR(CheckNumbers(a.size_factors, "size_factors", where, 1, true));
  }
  if (block.labels().empty()) return absl::OkStatus();
  PORTOLAN_RETURN_IF_ERROR(
      ReadArray(block.labels(), "labels", rows, bounds.n_labels > 0 ? 1 : 0, where, a.labels));
  return CheckCodes(a.labels, "labels", where, 1, -1, {bounds.n_labels});
}

}  // namespace

CountBlockBounds BoundsOf(const ModelDescription& description) {
  const Architecture& architecture = description.architecture;
  CountBlockBounds bounds;
  bounds.genes = architecture.n_genes;
  if (architecture.proteins.has_value()) bounds.n_proteins = architecture.proteins->n_proteins;
  bounds.n_categories = architecture.n_cats_per_cov;
  bounds.n_continuous = architecture.n_continuous_covs;
  bounds.size_factor = architecture.has_size_factor;
  if (description.model_class == ModelClass::kScanvi ||
      architecture.dispersion == Dispersion::kGeneLabel) {
    bounds.n_labels = architecture.n_labels;
  }
  return bounds;
}

absl::Status DecodeCellInputs(const v1::CountBlock& block, const CountBlockBounds& bounds,
                              std::string_view where, DecodedBlock& out) {
  PORTOLAN_RETURN_IF_ERROR(ReadProteinsOfType(block, bounds, where, out));
  return ReadAnnotations(block, bounds, where, out);
}

}  // namespace portolan::server
