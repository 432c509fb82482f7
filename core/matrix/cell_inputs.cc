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

ProteinCounts ProteinCounts::SelectRows(std::span<const int64_t> rows) const {
  return {n_proteins, Rows(values, n_proteins, rows), measured};
}

}  // namespace portolan
