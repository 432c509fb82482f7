#include "tests/fuzz/check_reader.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "core/base/field_error.h"

namespace portolan::fuzz {
namespace {

constexpr int64_t kMaxRows = 3;

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void RequireField(const absl::Status& status) {
  if (!status.ok()) Require(GetFieldViolation(status).has_value(), "an error names its field");
}

bool IsCount(float value) { return value >= 0 && value == std::floor(value); }

void CheckBlock(const CsrMatrix& block, const GeneAlignment& alignment) {
  Require(block.rows() > 0 && block.rows() <= kMaxRows, "rows of a block");
  Require(block.cols == alignment.reference_genes(), "columns of a block");
  Require(block.row_offsets.back() == block.nonzeros(), "offsets of a block");
  Require(block.values.size() == block.columns.size(), "values of a block");
  for (int64_t row = 0; row < block.rows(); ++row) {
    int32_t last = -1;
    for (const int32_t column : block.row_columns(row)) {
      Require(column > last && column < block.cols, "columns ascend within the reference");
      last = column;
    }
    for (const float value : block.row_values(row)) {
      Require(IsCount(value) && value > 0, "stored values are counts");
    }
  }
}

void CheckCounts(QueryReader& reader, const MatrixSource& source) {
  const auto genes = reader.GeneNames(source);
  RequireField(genes.status());
  if (!genes.ok()) return;
  const auto alignment =
      GeneAlignment::Create(ReferenceGenes(), *genes, reader.cell_names(), {.min_share = 0.1});
  if (!alignment.ok()) return;
  int64_t rows = 0;
  const absl::Status status = reader.ReadCounts(source, *alignment, kMaxRows, CancelToken(),
                                                [&](int64_t first_row, const CsrMatrix& block) {
                                                  Require(first_row == rows, "blocks in order");
                                                  CheckBlock(block, *alignment);
                                                  rows += block.rows();
                                                  return absl::OkStatus();
                                                });
  RequireField(status);
  const auto cells = static_cast<int64_t>(reader.cell_names().size());
  Require(rows == cells || (!status.ok() && rows < cells), "all rows or an error");
}

void CheckProteins(QueryReader& reader, const ProteinSource& source) {
  const auto names = reader.ProteinNames(source);
  RequireField(names.status());
  if (!names.ok()) return;
  const auto alignment = ProteinAlignment::Create(ReferenceProteins(), *names);
  RequireField(alignment.status());
  if (!alignment.ok()) return;
  const size_t width = ReferenceProteins().size();
  size_t rows = 0;
  const absl::Status status =
      reader.ReadProteins(source, *alignment, kMaxRows, CancelToken(),
                          [&](int64_t first_row, const std::vector<float>& values) {
                            Require(first_row == static_cast<int64_t>(rows), "blocks in order");
                            Require(!values.empty() && values.size() % width == 0, "whole rows");
                            for (const float value : values) {
                              Require(IsCount(value), "proteins are counts");
                            }
                            rows += values.size() / width;
                            return absl::OkStatus();
                          });
  RequireField(status);
  Require(!status.ok() || rows == reader.cell_names().size(), "all rows or an error");
}

}  // namespace

const std::vector<std::string>& ReferenceGenes() {
  static const std::vector<std::string> genes = {"g0", "g1", "g2", "g3", "g4"};
  return genes;
}

const std::vector<std::string>& ReferenceProteins() {
  static const std::vector<std::string> proteins = {"p0", "p1_TotalSeqB", "p2"};
  return proteins;
}

void CheckReader(const absl::StatusOr<std::unique_ptr<QueryReader>>& reader) {
  RequireField(reader.status());
  if (!reader.ok()) return;
  Require(!(*reader)->cell_names().empty(), "a query has cells");
  for (const char* source : {"X", "layers/counts", "raw/X"}) CheckCounts(**reader, {source});
  for (const std::string& column : (*reader)->ObsColumnNames()) {
    const auto values = (*reader)->ReadObs(column);
    RequireField(values.status());
    Require(!values.ok() || values->values.size() == (*reader)->cell_names().size(),
            "one value of obs a cell");
  }
  CheckProteins(**reader, {(*reader)->DeclaredProteins(), ""});
  CheckProteins(**reader, {"adt", "adt_names"});
}

}  // namespace portolan::fuzz
