#include "core/surgery/minibatches.h"

#include <numeric>

#include "core/model/annotations.h"
#include "core/model/first_layer.h"
#include "core/model/likelihood.h"
#include "core/model/sparse_layer.h"

namespace portolan {

Minibatches::Minibatches(const ModelNetworks& networks, const CellInputs& cells, const Keep& keep)
    : networks_(networks), cells_(cells) {
  if (keep.first_layer) KeepFirstLayer();
  // A dispersion per cell comes out of the decoder.
  if (keep.count_terms && networks.px_r.defined()) KeepCountTerms();
}

void Minibatches::KeepFirstLayer() {
  const int64_t width = networks_.z_encoder.stack.layers[0].weight.size(0);
  std::vector<int64_t> rows(cells_.counts.rows());
  std::iota(rows.begin(), rows.end(), 0);
  first_ = at::empty({cells_.counts.rows(), width}, at::kFloat);
  FirstLayer(networks_, cells_, rows, first_.data_ptr<float>());
}

void Minibatches::KeepCountTerms() {
  const Architecture& a = networks_.architecture;
  const at::Tensor theta = at::exp(networks_.px_r.detach()).contiguous();
  const auto theta_row = [&](int64_t row) -> int64_t {
    if (a.dispersion == Dispersion::kGeneBatch) return cells_.batch_codes[row];
    return a.dispersion == Dispersion::kGeneLabel ? cells_.annotations.labels[row] : 0;
  };
  count_terms_ = at::empty({cells_.counts.rows()}, at::kFloat);
  for (int64_t row = 0; row < cells_.counts.rows(); ++row) {
    const float* row_theta = theta.data_ptr<float>() + theta_row(row) * a.n_genes;
    count_terms_.data_ptr<float>()[row] =
        static_cast<float>(CountTerms(a.gene_likelihood, cells_.counts.row_columns(row),
                                      cells_.counts.row_values(row), row_theta));
  }
}

Minibatch Minibatches::Make(std::span<const int64_t> rows) const {
  const auto n = static_cast<int64_t>(rows.size());
  Minibatch minibatch;
  minibatch.rows = rows;
  minibatch.counts = at::empty({n, cells_.counts.cols}, at::kFloat);
  DenseRows(cells_.counts, rows, minibatch.counts.data_ptr<float>());
  minibatch.batch_codes = at::empty({n}, at::kLong);
  for (int64_t i = 0; i < n; ++i) {
    minibatch.batch_codes.data_ptr<int64_t>()[i] = cells_.batch_codes[rows[i]];
  }
  TakeAnnotations(cells_.annotations, rows, n, minibatch);
  at::Tensor index = at::empty({n}, at::kLong);
  std::copy(rows.begin(), rows.end(), index.data_ptr<int64_t>());
  if (networks_.proteins.has_value()) {
    minibatch.proteins = at::empty({n, networks_.architecture.proteins->n_proteins}, at::kFloat);
    ProteinRows(networks_, cells_, rows, minibatch.proteins.data_ptr<float>());
  }
  minibatch.first = first_.defined() ? first_.index_select(0, index)
                                     : FirstLinear(networks_.z_encoder.stack,
                                                   EncoderInput(networks_.architecture, minibatch));
  if (count_terms_.defined()) minibatch.count_terms = count_terms_.index_select(0, index);
  return minibatch;
}

}  // namespace portolan
