#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <numeric>

#include "core/base/status_macros.h"
#include "core/kernels/encoder.h"
#include "core/model/annotations.h"
#include "core/model/first_layer.h"
#include "core/model/forward.h"
#include "core/model/model.h"
#include "core/model/pack_networks.h"
#include "core/model/torch_runtime.h"

namespace portolan {
namespace {

// Every product sees this many rows: the last block is filled up, so that a cell's numbers do not
// depend on how many cells came with it.
constexpr int64_t kRowsPerBlock = 128;

void Append(const at::Tensor& tensor, int64_t rows, std::vector<float>& out) {
  const at::Tensor dense = tensor.contiguous();
  const float* data = dense.data_ptr<float>();
  out.insert(out.end(), data, data + rows * dense.size(1));
}

absl::Status EncodeBlocks(const ModelNetworks& networks, const CellInputs& cells,
                          const CancelToken& cancel, Embedding& out) {
  const CsrMatrix& counts = cells.counts;
  const bool logistic =
      networks.architecture.latent_distribution == LatentDistribution::kLogisticNormal;
  const c10::NoGradGuard no_grad;
  const int64_t width = networks.z_encoder.stack.layers[0].weight.size(0);
  Minibatch block;
  block.first = at::zeros({kRowsPerBlock, width}, at::kFloat);
  block.batch_codes = at::zeros({kRowsPerBlock}, at::kLong);
  std::vector<int64_t> rows(kRowsPerBlock);
  for (int64_t begin = 0; begin < counts.rows(); begin += kRowsPerBlock) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    const int64_t used = std::min(kRowsPerBlock, counts.rows() - begin);
    rows.resize(used);
    std::iota(rows.begin(), rows.end(), begin);
    FirstLayer(networks, cells, rows, block.first.data_ptr<float>());
    for (int64_t i = 0; i < used; ++i) {
      block.batch_codes.data_ptr<int64_t>()[i] = cells.batch_codes[begin + i];
    }
    TakeAnnotations(cells.annotations, rows, kRowsPerBlock, block);
    const GaussianOutput q = EncodeLatent(networks, block);
    Append(ExpectedLatent(networks.architecture, q), used, out.mean);
    if (logistic) Append(q.mean, used, out.location);
    Append(q.var, used, out.variance);
    if (networks.labels.has_value()) {
      Append(ClassProbabilities(networks, q.mean), used, out.probabilities);
    }
  }
  return absl::OkStatus();
}

absl::Status EncodePacked(const Model& model, const CellInputs& cells, const CancelToken& cancel,
                          Embedding& out) {
  const BatchColumns columns = BatchColumnsOf(model.networks().z_encoder.stack);
  out.mean.resize(out.cells * out.n_latent);
  out.variance.resize(out.cells * out.n_latent);
  out.probabilities.resize(out.cells * out.n_labels);
  return EncodeCells(*model.packed(), columns.tables, cells, cancel,
                     {out.mean, out.variance, out.probabilities});
}

}  // namespace

absl::StatusOr<Embedding> Encode(const Model& model, const CellInputs& cells,
                                 const CancelToken& cancel) {
  const ModelNetworks& networks = model.networks();
  PORTOLAN_RETURN_IF_ERROR(CheckBatchCodes(cells.batch_codes, networks.architecture.n_batch));
  PORTOLAN_RETURN_IF_ERROR(CheckProteins(networks, cells));
  PORTOLAN_RETURN_IF_ERROR(CheckAnnotations(model.description(), cells.annotations,
                                            cells.counts.rows(), AnnotationUse::kEncoding));
  Embedding out;
  out.cells = cells.counts.rows();
  out.n_latent = networks.architecture.n_latent;
  out.n_labels = networks.labels.has_value() ? networks.architecture.n_labels : 0;
  if (model.packed() != nullptr) {
    PORTOLAN_RETURN_IF_ERROR(TorchFence([&] { return EncodePacked(model, cells, cancel, out); }));
    return out;
  }
  out.mean.reserve(out.cells * out.n_latent);
  out.variance.reserve(out.cells * out.n_latent);
  out.probabilities.reserve(out.cells * out.n_labels);
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&] { return EncodeBlocks(networks, cells, cancel, out); }));
  return out;
}

}  // namespace portolan
