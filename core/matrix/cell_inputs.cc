#include "core/matrix/cell_inputs.h"

namespace portolan {
namespace {

template <typename T>
std::vector<T> Rows(const std::vector<T>& values, int64_t width, std::span<const int64_t> rows) {
  std::vector<T> out;
  if (values.empty()) return out;
  out.reserve(rows.size() * width);
  for (const int64_t row : rows) {
    out.insert(out.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
  }
  return out;
}

}  // namespace

const CellAnnotations CellInputs::kNoAnnotations;
const ProteinCounts CellInputs::kNoProteins;

CellAnnotations CellAnnotations::SelectRows(std::span<const int64_t> rows) const {
  return {n_categorical,
          n_continuous,
          Rows(categorical, n_categorical, rows),
          Rows(continuous, n_continuous, rows),
          Rows(size_factors, 1, rows),
          Rows(labels, 1, rows)};
}

void CellAnnotations::Append(const CellAnnotations& more, int64_t before, int64_t cells) {
  n_categorical = more.n_categorical;
  n_continuous = more.n_continuous;
  categorical.insert(categorical.end(), more.categorical.begin(), more.categorical.end());
  continuous.insert(continuous.end(), more.continuous.begin(), more.continuous.end());
  size_factors.insert(size_factors.end(), more.size_factors.begin(), more.size_factors.end());
  if (labels.empty() && more.labels.empty()) return;
  labels.resize(before, -1);
  labels.insert(labels.end(), more.labels.begin(), more.labels.end());
  labels.resize(before + cells, -1);
}

std::vector<uint8_t> MeasuredProteins(const ProteinCounts& proteins,
                                      std::span<const int32_t> batch_codes, size_t batches) {
  const int64_t width = proteins.n_proteins;
  std::vector<uint8_t> measured(batches * width, 0);
  for (size_t cell = 0; cell < batch_codes.size(); ++cell) {
    for (int64_t protein = 0; protein < width; ++protein) {
      if (proteins.values[cell * width + protein] > 0) {
        measured[batch_codes[cell] * width + protein] = 1;
      }
    }
  }
  return measured;
}

ProteinCounts ProteinCounts::SelectRows(std::span<const int64_t> rows) const {
  return {n_proteins, Rows(values, n_proteins, rows), measured};
}

}  // namespace portolan
