#include "core/model/first_layer.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/kernels/first_layer_row.h"
#include "core/model/sparse_layer.h"

namespace portolan {
namespace {

// [genes | proteins] of rows as the encoder sees them, before the logarithm.
CsrMatrix JoinedRows(const Architecture& a, const CellInputs& cells,
                     std::span<const int64_t> rows) {
  CsrMatrix out;
  out.cols = a.n_genes + a.proteins->n_proteins;
  JoinedRow joined;
  for (const int64_t row : rows) {
    JoinRow(cells, row, a.proteins->n_proteins, a.proteins->variant == TotalviVariant::kCellMean,
            joined);
    out.columns.insert(out.columns.end(), joined.features.begin(), joined.features.end());
    out.values.insert(out.values.end(), joined.values.begin(), joined.values.end());
    out.row_offsets.push_back(out.nonzeros());
  }
  return out;
}

}  // namespace

void FirstLayer(const ModelNetworks& networks, const CellInputs& cells,
                std::span<const int64_t> rows, float* out) {
  const Architecture& a = networks.architecture;
  const FcLayer& layer = networks.z_encoder.stack.layers[0];
  const at::Tensor bias = layer.bias.detach().contiguous();
  const float* weight_t = networks.first_weight_t.data_ptr<float>();
  const int64_t width = layer.weight.size(0);
  if (!networks.proteins.has_value()) {
    SparseFirstLayer(cells.counts, rows, weight_t, bias.data_ptr<float>(), width, a.log_variational,
                     out);
    return;
  }
  const CsrMatrix joined = JoinedRows(a, cells, rows);
  std::vector<int64_t> all(rows.size());
  std::iota(all.begin(), all.end(), 0);
  SparseFirstLayer(joined, all, weight_t, bias.data_ptr<float>(), width, a.log_variational, out);
}

absl::Status CheckProteins(const ModelNetworks& networks, const CellInputs& cells) {
  const int64_t known =
      networks.proteins.has_value() ? networks.architecture.proteins->n_proteins : 0;
  const int64_t came = cells.proteins.n_proteins;
  if (came == 0) return absl::OkStatus();
  if (came != known) {
    return InvalidField("proteins", absl::StrCat(came, " proteins"),
                        absl::StrCat("The model has ", known, "; align them by name"));
  }
  if (static_cast<int64_t>(cells.proteins.values.size()) != came * cells.counts.rows()) {
    return InvalidField("proteins", absl::StrCat(cells.proteins.values.size(), " values"),
                        "Give one value for each cell and protein");
  }
  return absl::OkStatus();
}

absl::Status CheckBatchCodes(std::span<const int32_t> codes, int64_t batches) {
  for (const int32_t code : codes) {
    if (code >= 0 && code < batches) continue;
    return absl::InternalError(absl::StrCat("batch code ", code, " of ", batches, " batches"));
  }
  return absl::OkStatus();
}

void ProteinRows(const ModelNetworks& networks, const CellInputs& cells,
                 std::span<const int64_t> rows, float* out) {
  const int64_t proteins = networks.architecture.proteins->n_proteins;
  if (cells.proteins.n_proteins == 0) {
    std::fill_n(out, static_cast<int64_t>(rows.size()) * proteins, 0.0f);
    return;
  }
  for (const int64_t row : rows) {
    out = std::copy_n(cells.proteins.values.data() + row * proteins, proteins, out);
  }
}

}  // namespace portolan
