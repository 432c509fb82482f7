#include "core/model/expression.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/model/first_layer.h"
#include "core/model/forward.h"
#include "core/model/networks.h"
#include "core/model/sparse_layer.h"
#include "core/model/torch_runtime.h"
#include "core/model/totalvi_forward.h"

namespace portolan {
namespace {

// As in Encode: every product sees this many rows, so that a cell's numbers are its own.
constexpr int64_t kRowsPerBlock = 128;
constexpr int kMostSamples = 10'000;
constexpr double kLeastNorm = 1e-12;
constexpr double kMostLogLibrary = 15;

at::Tensor IndexTensor(const std::vector<int32_t>& indices) {
  at::Tensor out = at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  std::copy(indices.begin(), indices.end(), out.data_ptr<int64_t>());
  return out;
}

void Append(const at::Tensor& tensor, int64_t rows, std::vector<float>& out) {
  const at::Tensor dense = tensor.contiguous();
  const float* data = dense.data_ptr<float>();
  out.insert(out.end(), data, data + rows * dense.size(1));
}

class Decoder {
 public:
  Decoder(const ModelNetworks& networks, const CellInputs& cells, const ExpressionOptions& options,
          NoiseSource& noise)
      : n_(networks),
        cells_(cells),
        options_(options),
        noise_(noise),
        genes_(IndexTensor(options.genes)),
        proteins_(IndexTensor(options.proteins)) {
    if (!options.deterministic) draws_ = options.samples;
    if (options.transform_batches.has_value()) {
      batches_ = static_cast<int64_t>(options.transform_batches->size());
    }
  }

  void Decode(int64_t begin, int64_t used, ExpressionBlock& out) {
    rows_.resize(used);
    std::iota(rows_.begin(), rows_.end(), begin);
    Encode();
    sum_genes_ = at::zeros({kRowsPerBlock, genes_.size(0)});
    sum_proteins_ = at::zeros({kRowsPerBlock, proteins_.size(0)});
    sum_mixing_ = at::zeros({kRowsPerBlock, proteins_.size(0)});
    const int64_t d = n_.architecture.n_latent;
    const int64_t width = latent_library_ ? d + 1 : d;
    const at::Tensor latent_noise = Draw(RandomUse::kExpressionNoise, width);
    at::Tensor background_noise;
    const int64_t p = n_.proteins.has_value() ? n_.architecture.proteins->n_proteins : 0;
    if (p > 0) background_noise = Draw(RandomUse::kExpressionBackground, p);
    for (int64_t batch = 0; batch < batches_; ++batch) {
      const at::Tensor codes = CodesFor(batch);
      for (int64_t draw = 0; draw < draws_; ++draw) {
        const int64_t k = batch * draws_ + draw;
        const at::Tensor epsilon = latent_noise.slice(1, k * width, (k + 1) * width);
        const at::Tensor z = Sample(q_, epsilon.slice(1, 0, d));
        const at::Tensor library = Library(epsilon);
        if (p > 0) {
          AddTotalvi(z, library, codes, background_noise.slice(1, k * p, (k + 1) * p));
        } else {
          AddGenes(GeneScale(z, codes), library);
        }
      }
    }
    const auto n = static_cast<double>(batches_ * draws_);
    Append(sum_genes_ * (options_.library_size.value_or(1.0) / n), used, out.genes);
    if (p == 0) return;
    Append(sum_proteins_ / n, used, out.proteins);
    if (options_.foreground) Append(1 - sum_mixing_ / n, used, out.foreground);
  }

 private:
  // Posteriors of the rows, the last block filled up.
  void Encode() {
    const auto used = static_cast<int64_t>(rows_.size());
    at::Tensor first = at::zeros({kRowsPerBlock, n_.z_encoder.stack.layers[0].weight.size(0)});
    FirstLayer(n_, cells_, rows_, first.data_ptr<float>());
    codes_ = at::zeros({kRowsPerBlock}, at::kLong);
    for (int64_t i = 0; i < used; ++i) {
      codes_.data_ptr<int64_t>()[i] = cells_.batch_codes[rows_[i]];
    }
    Minibatch block;
    block.first = first;
    block.batch_codes = codes_;
    q_ = EncodeLatent(n_, block);
    if (options_.library_size.has_value()) return;
    observed_library_ = at::zeros({kRowsPerBlock, 1});
    for (int64_t i = 0; i < used; ++i) {
      const auto counts = cells_.counts.row_values(rows_[i]);
      observed_library_.data_ptr<float>()[i] =
          static_cast<float>(std::accumulate(counts.begin(), counts.end(), 0.0));
    }
    if (n_.l_encoder.has_value()) EncodeLibrary();
  }

  void EncodeLibrary() {
    Minibatch minibatch;
    minibatch.counts = at::zeros({kRowsPerBlock, cells_.counts.cols});
    DenseRows(cells_.counts, rows_, minibatch.counts.data_ptr<float>());
    if (n_.proteins.has_value()) {
      minibatch.proteins = at::zeros({kRowsPerBlock, n_.architecture.proteins->n_proteins});
      ProteinRows(n_, cells_, rows_, minibatch.proteins.data_ptr<float>());
    }
    const FcStack& stack = n_.l_encoder->stack;
    q_library_ = ForwardGaussian(
        *n_.l_encoder, FirstLinear(stack, EncoderInput(n_.architecture, minibatch)), codes_, {});
    latent_library_ = true;
  }

  // Standard normals of every draw, (rows, batches x draws x width); zeros if deterministic.
  at::Tensor Draw(RandomUse use, int64_t width) {
    const int64_t all = batches_ * draws_ * width;
    at::Tensor out = at::zeros({kRowsPerBlock, all});
    if (!options_.deterministic) noise_.Normal(use, rows_, all, out.data_ptr<float>());
    return out;
  }

  at::Tensor CodesFor(int64_t batch) const {
    if (!options_.transform_batches.has_value()) return codes_;
    return at::full({kRowsPerBlock}, (*options_.transform_batches)[batch], at::kLong);
  }

  // What gene shares are multiplied by, per draw; undefined for a fixed number.
  at::Tensor Library(const at::Tensor& epsilon) const {
    if (options_.library_size.has_value()) return {};
    if (!latent_library_) return observed_library_;
    at::Tensor log_size = Sample(q_library_, epsilon.slice(1, n_.architecture.n_latent));
    if (n_.proteins.has_value()) log_size = at::clamp_max(log_size, kMostLogLibrary);
    return at::exp(log_size);
  }

  at::Tensor GeneScale(const at::Tensor& z, const at::Tensor& codes) const {
    const at::Tensor h = ForwardStack(n_.px_decoder, FirstLinear(n_.px_decoder, z), codes, {});
    return at::softmax(at::addmm(n_.px_scale.bias, h, n_.px_scale.weight.t()), -1);
  }

  void AddGenes(const at::Tensor& scale, const at::Tensor& library) {
    if (genes_.size(0) == 0) return;
    const at::Tensor chosen = scale.index_select(1, genes_);
    sum_genes_ += library.defined() ? chosen * library : chosen;
  }

  void AddTotalvi(const at::Tensor& z, const at::Tensor& library, const at::Tensor& codes,
                  const at::Tensor& background_noise) {
    const TotalviDecoding decoded = DecodeTotalvi(n_, z, codes, background_noise, {});
    AddGenes(decoded.gene_scale, library);
    if (proteins_.size(0) == 0) return;
    const at::Tensor background = at::sigmoid(decoded.mixing);
    at::Tensor value = decoded.rate_fore * (1 - background);
    if (options_.include_protein_background) value = value + decoded.rate_back * background;
    if (options_.scale_protein) value = value / value.sum(1, true).clamp_min(kLeastNorm);
    sum_proteins_ += value.index_select(1, proteins_);
    sum_mixing_ += background.index_select(1, proteins_);
  }

  const ModelNetworks& n_;
  const CellInputs& cells_;
  const ExpressionOptions& options_;
  NoiseSource& noise_;
  const at::Tensor genes_;     // chosen, (n)
  const at::Tensor proteins_;  // chosen, (n)
  int64_t draws_ = 1;
  int64_t batches_ = 1;
  bool latent_library_ = false;

  // Of the block under way.
  std::vector<int64_t> rows_;
  at::Tensor codes_;
  at::Tensor observed_library_;
  GaussianOutput q_;
  GaussianOutput q_library_;
  at::Tensor sum_genes_;
  at::Tensor sum_proteins_;
  at::Tensor sum_mixing_;
};

absl::Status CheckIndices(const char* field, const std::vector<int32_t>& indices, int64_t size) {
  for (const int32_t index : indices) {
    if (index >= 0 && index < size) continue;
    return InvalidField(field, absl::StrCat("number ", index),
                        absl::StrCat("The model has ", size, ", numbered from 0"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckExpressionOptions(const Model& model, const ExpressionOptions& options) {
  const Architecture& a = model.networks().architecture;
  if (!a.n_cats_per_cov.empty() || a.n_continuous_covs > 0 || a.has_size_factor ||
      a.batch_embedding || a.latent_distribution != LatentDistribution::kNormal) {
    return FieldError(absl::StatusCode::kUnimplemented, "outputs",
                      "denoised values of a model with extra covariates, a size factor, embedded "
                      "batches or a logistic-normal latent",
                      "Leave denoised values out; latents and labels of this model are served");
  }
  PORTOLAN_RETURN_IF_ERROR(CheckIndices("genes", options.genes, a.n_genes));
  PORTOLAN_RETURN_IF_ERROR(CheckIndices("proteins", options.proteins,
                                        a.proteins.has_value() ? a.proteins->n_proteins : 0));
  if (options.transform_batches.has_value()) {
    if (options.transform_batches->empty()) {
      return InvalidField("transform_batch", "no batch", "Name one or more, or leave it out");
    }
    PORTOLAN_RETURN_IF_ERROR(
        CheckIndices("transform_batch", *options.transform_batches, a.n_batch));
  }
  if (options.samples < 1 || options.samples > kMostSamples) {
    return InvalidField("samples", absl::StrCat(options.samples),
                        absl::StrCat("Ask for 1 to ", kMostSamples));
  }
  if (options.library_size.has_value() &&
      (!std::isfinite(*options.library_size) || *options.library_size <= 0)) {
    return InvalidField("library_size", absl::StrCat(*options.library_size),
                        "Use a number above 0, such as 1 or 10000");
  }
  return absl::OkStatus();
}

absl::StatusOr<ExpressionBlock> Express(const Model& model, const CellInputs& cells,
                                        const ExpressionOptions& options, NoiseSource& noise,
                                        const CancelToken& cancel) {
  PORTOLAN_RETURN_IF_ERROR(CheckExpressionOptions(model, options));
  PORTOLAN_RETURN_IF_ERROR(CheckProteins(model.networks(), cells));
  ExpressionBlock out;
  out.cells = cells.counts.rows();
  PORTOLAN_RETURN_IF_ERROR(TorchFence([&]() -> absl::Status {
    const c10::NoGradGuard no_grad;
    Decoder decoder(model.networks(), cells, options, noise);
    for (int64_t begin = 0; begin < out.cells; begin += kRowsPerBlock) {
      PORTOLAN_RETURN_IF_ERROR(cancel.Check());
      decoder.Decode(begin, std::min(kRowsPerBlock, out.cells - begin), out);
    }
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace portolan
