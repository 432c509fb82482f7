#include "core/io/count_matrix.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

using hdf5::Dataset;
using hdf5::Handle;
using hdf5::ObjectKind;
using hdf5::ValueKind;

constexpr char kWriteAgain[] =
    "The file may be damaged: write it again with anndata (adata.write_h5ad).";

absl::Status CheckShape(const CountMatrix& matrix, const std::vector<int64_t>& shape) {
  if (shape == std::vector<int64_t>{matrix.cells, matrix.genes}) return absl::OkStatus();
  return InvalidField(
      matrix.field,
      absl::StrCat("a matrix of shape (", absl::StrJoin(shape, ", "), ") in a file of ",
                   matrix.cells, " cells and ", matrix.genes, " genes"),
      kWriteAgain);
}

absl::Status CheckNumbers(const CountMatrix& matrix) {
  const ValueKind kind = matrix.values.type.kind;
  if (kind == ValueKind::kInteger || kind == ValueKind::kFloat || kind == ValueKind::kBoolean) {
    return absl::OkStatus();
  }
  return InvalidField(matrix.field, "values that are not numbers", kWriteAgain);
}

absl::StatusOr<CountMatrix::Layout> SparseLayout(const Handle& group, const std::string& field) {
  const std::string encoding =
      hdf5::StringAttribute(group, "encoding-type")
          .value_or(hdf5::StringAttribute(group, "h5sparse_format").value_or(""));
  if (encoding == "csr_matrix" || encoding == "csr") return CountMatrix::Layout::kCsr;
  if (encoding == "csc_matrix" || encoding == "csc") return CountMatrix::Layout::kCsc;
  return InvalidField(field,
                      encoding.empty() ? "a group that does not say how its matrix is encoded"
                                       : absl::StrCat("a matrix encoded as ", encoding),
                      "Store the matrix as CSR, CSC or dense.");
}

// indptr: the right length, from 0, ascending, within the stored values.
absl::Status CheckIndptr(const CountMatrix& matrix) {
  const std::vector<int64_t>& indptr = matrix.indptr;
  const int64_t stored = matrix.values.size();
  bool fits = indptr.front() == 0 && indptr.back() <= stored;
  for (size_t i = 1; i < indptr.size(); ++i) fits &= indptr[i - 1] <= indptr[i];
  if (fits) return absl::OkStatus();
  return InvalidField(
      absl::StrCat(matrix.field, "/indptr"),
      absl::StrCat("offsets that do not ascend from 0 to at most the ", stored, " stored values"),
      kWriteAgain);
}

// The parts of a sparse matrix whose layout is known.
absl::Status OpenParts(const Handle& group, CountMatrix& out) {
  const auto open = [&](const char* name) {
    return hdf5::OpenDataset(group, name, absl::StrCat(out.field, "/", name));
  };
  PORTOLAN_ASSIGN_OR_RETURN(out.values, open("data"));
  PORTOLAN_ASSIGN_OR_RETURN(out.indices, open("indices"));
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset indptr, open("indptr"));
  const int64_t major = out.layout == CountMatrix::Layout::kCsr ? out.cells : out.genes;
  if (out.values.shape.size() != 1 || out.indices.shape != out.values.shape ||
      indptr.shape != std::vector<int64_t>{major + 1} ||
      out.indices.type.kind != ValueKind::kInteger || indptr.type.kind != ValueKind::kInteger) {
    return InvalidField(
        out.field,
        absl::StrCat("sparse parts that do not fit: data (", absl::StrJoin(out.values.shape, ", "),
                     "), indices (", absl::StrJoin(out.indices.shape, ", "), "), indptr (",
                     absl::StrJoin(indptr.shape, ", "), ") for ", major, " compressed rows"),
        kWriteAgain);
  }
  PORTOLAN_RETURN_IF_ERROR(CheckNumbers(out));
  PORTOLAN_ASSIGN_OR_RETURN(out.indptr, hdf5::ReadAll<int64_t>(indptr));
  return CheckIndptr(out);
}

absl::Status OpenSparse(const Handle& file, const std::string& path, CountMatrix& out) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::OpenGroup(file, path, out.field));
  PORTOLAN_ASSIGN_OR_RETURN(out.layout, SparseLayout(group, out.field));
  auto shape = hdf5::IntegersAttribute(group, "shape");
  if (!shape.has_value()) shape = hdf5::IntegersAttribute(group, "h5sparse_shape");
  PORTOLAN_RETURN_IF_ERROR(CheckShape(out, shape.value_or(std::vector<int64_t>())));

  return OpenParts(group, out);
}

}  // namespace

absl::StatusOr<CountMatrix> CountMatrix::Open(const Handle& file, const std::string& path,
                                              const std::string& field, int64_t cells,
                                              int64_t genes) {
  const hdf5::Gate gate;
  CountMatrix out;
  out.field = field;
  out.cells = cells;
  out.genes = genes;
  if (hdf5::KindOf(file, path) == ObjectKind::kDataset) {
    PORTOLAN_ASSIGN_OR_RETURN(out.values, hdf5::OpenDataset(file, path, field));
    PORTOLAN_RETURN_IF_ERROR(CheckShape(out, out.values.shape));
    PORTOLAN_RETURN_IF_ERROR(CheckNumbers(out));
  } else {
    PORTOLAN_RETURN_IF_ERROR(OpenSparse(file, path, out));
  }
  return out;
}

absl::StatusOr<CountMatrix> CountMatrix::OpenCsr(const Handle& group, const std::string& field,
                                                 int64_t cells, int64_t genes) {
  const hdf5::Gate gate;
  CountMatrix out;
  out.field = field;
  out.layout = Layout::kCsr;
  out.cells = cells;
  out.genes = genes;
  PORTOLAN_RETURN_IF_ERROR(OpenParts(group, out));
  return out;
}

}  // namespace portolan
