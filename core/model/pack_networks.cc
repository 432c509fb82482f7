#include "core/model/pack_networks.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/model/host_copy.h"

namespace portolan {
namespace {

constexpr double kBatchNormEpsilon = 1e-3;
// e^x of it is 0, and a sum with it is finite.
constexpr float kNoGene = -1e30f;
constexpr float kProbabilityEpsilon = 1.1920928955078125e-07f;

std::vector<float> Floats(const at::Tensor& tensor) {
  const HostTensor host = ToHost(tensor);
  return {host.floats().begin(), host.floats().end()};
}

// Weights of one product, side by side.
class Parts {
 public:
  void Add(const at::Tensor& weight, const at::Tensor& bias, float pad_bias = 0) {
    inputs_ = weight.size(1);
    weights_.push_back(Floats(weight));
    biases_.push_back(Floats(bias));
    pad_biases_.push_back(pad_bias);
  }
  PackedMatrix SideBySide() const { return {inputs_, Views()}; }
  PackedMatrix PanelAligned() const { return PackedMatrix::PanelAligned(inputs_, Views()); }

 private:
  std::vector<LinearView> Views() const {
    std::vector<LinearView> views;
    for (size_t i = 0; i < weights_.size(); ++i) {
      views.push_back({weights_[i], biases_[i], pad_biases_[i]});
    }
    return views;
  }

  int64_t inputs_ = 0;
  std::vector<std::vector<float>> weights_;
  std::vector<std::vector<float>> biases_;
  std::vector<float> pad_biases_;
};

PackedMatrix Pack(const at::Tensor& weight, const at::Tensor& bias) {
  Parts parts;
  parts.Add(weight, bias);
  return parts.SideBySide();
}

void PackBatchNorm(const BatchNorm& norm, PackedLayer& layer) {
  const std::vector<float> weight = Floats(norm.weight);
  const std::vector<float> bias = Floats(norm.bias);
  const std::vector<float> mean = Floats(norm.running_mean);
  const std::vector<float> var = Floats(norm.running_var);
  layer.scale = AlignedBuffer<float>(PaddedWidth(layer.width));
  layer.shift = AlignedBuffer<float>(PaddedWidth(layer.width));
  for (int64_t i = 0; i < layer.width; ++i) {
    const double scale = weight[i] / std::sqrt(static_cast<double>(var[i]) + kBatchNormEpsilon);
    layer.scale[i] = static_cast<float>(scale);
    layer.shift[i] = static_cast<float>(bias[i] - mean[i] * scale);
  }
}

// Key of a layer's batch columns; empty without.
std::string ColumnsKey(const FcStack& stack, size_t layer) {
  if (stack.covariate != Covariate::kBatch || !stack.layers[layer].columns.defined()) return "";
  return absl::StrCat(stack.path, ".fc_layers.Layer ", layer, ".0.weight");
}

PackedStack PackStack(const FcStack& stack, bool with_first) {
  PackedStack packed;
  packed.layer_norm = stack.layer_norm;
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    const FcLayer& layer = stack.layers[i];
    PackedLayer out;
    out.width = layer.weight.size(0);
    if (i > 0 || with_first) out.weight = Pack(layer.weight, layer.bias);
    if (layer.batch_norm.has_value()) PackBatchNorm(*layer.batch_norm, out);
    if (stack.covariate == Covariate::kLabel && layer.columns.defined()) {
      out.label_columns = Floats(layer.columns);
    }
    out.batch_columns_key = ColumnsKey(stack, i);
    packed.layers.push_back(std::move(out));
  }
  return packed;
}

PackedGaussian PackGaussian(const GaussianNetwork& network, bool with_first) {
  PackedGaussian packed;
  packed.stack = PackStack(network.stack, with_first);
  Parts heads;
  heads.Add(network.mean.weight, network.mean.bias);
  heads.Add(network.var.weight, network.var.bias);
  packed.heads = heads.SideBySide();
  packed.var_epsilon = static_cast<float>(network.var_epsilon);
  return packed;
}

PackedLabels PackLabels(const LabelNetworks& networks, int64_t labels) {
  PackedLabels packed;
  packed.labels = labels;
  packed.classifier = PackStack(networks.classifier.stack, /*with_first=*/true);
  packed.classes = Pack(networks.classifier.output.weight, networks.classifier.output.bias);
  packed.encoder_z2 = PackGaussian(networks.encoder_z2_z1, /*with_first=*/true);
  packed.decoder_z1 = PackGaussian(networks.decoder_z1_z2, /*with_first=*/true);
  for (const float p : Floats(networks.y_prior)) {
    packed.log_prior.push_back(
        std::log(std::clamp(p, kProbabilityEpsilon, 1 - kProbabilityEpsilon)));
  }
  return packed;
}

PackedBranch PackBranch(const FcStack& body, const std::vector<const FcStack*>& heads,
                        float pad_bias = 0) {
  PackedBranch packed;
  packed.body = PackStack(body, /*with_first=*/true);
  Parts parts;
  int64_t at = 0;
  for (const FcStack* head : heads) {
    const FcLayer& layer = head->layers[0];
    parts.Add(layer.weight, layer.bias, pad_bias);
    packed.parts.push_back({at, layer.weight.size(0), ColumnsKey(*head, 0)});
    at += PaddedWidth(layer.weight.size(0));
  }
  packed.heads = parts.PanelAligned();
  return packed;
}

BackgroundScale ScaleOf(TotalviVariant variant) {
  if (variant == TotalviVariant::kExp) return BackgroundScale::kExp;
  return variant == TotalviVariant::kSoftplus ? BackgroundScale::kSoftplus
                                              : BackgroundScale::kSoftplusFloor;
}

PackedProteins PackProteins(const ProteinArchitecture& a, const FcStack& gene_body,
                            const ProteinNetworks& networks) {
  PackedProteins packed;
  packed.proteins = a.n_proteins;
  packed.scale = ScaleOf(a.variant);
  packed.cell_mean = a.variant == TotalviVariant::kCellMean;
  packed.genes = PackBranch(gene_body, {&networks.gene_scale}, kNoGene);
  packed.back = PackBranch(networks.back_body, {&networks.back_mean, &networks.back_std});
  packed.fore = PackBranch(networks.fore_body, {&networks.fore_scale});
  std::vector<const FcStack*> mix = {&networks.mixing};
  if (!networks.gene_dropout.layers.empty()) mix.insert(mix.begin(), &networks.gene_dropout);
  packed.mix = PackBranch(networks.mix_body, mix);
  if (a.dispersion == ProteinDispersion::kProtein) {
    packed.theta = Floats(at::exp(networks.py_r));
  }
  return packed;
}

CountLikelihood LikelihoodOf(GeneLikelihood likelihood) {
  if (likelihood == GeneLikelihood::kZinb) return CountLikelihood::kZinb;
  return likelihood == GeneLikelihood::kNb ? CountLikelihood::kNb : CountLikelihood::kPoisson;
}

}  // namespace

bool KernelsKnow(const ModelDescription& description) {
  const Architecture& a = description.architecture;
  return (a.gene_likelihood == GeneLikelihood::kNb || a.gene_likelihood == GeneLikelihood::kZinb ||
          a.gene_likelihood == GeneLikelihood::kPoisson) &&
         (a.dispersion == Dispersion::kGene || a.dispersion == Dispersion::kGeneBatch) &&
         a.latent_distribution == LatentDistribution::kNormal && !a.batch_embedding &&
         !a.has_size_factor && a.n_cats_per_cov.empty() && a.n_continuous_covs == 0;
}

std::shared_ptr<const PackedNetworks> PackNetworks(const ModelDescription& description,
                                                   const ModelNetworks& networks) {
  if (!KernelsKnow(description)) return nullptr;
  const Architecture& a = description.architecture;
  auto packed = std::make_shared<PackedNetworks>();
  packed->genes = a.n_genes;
  packed->latent = a.n_latent;
  packed->log1p_counts = a.log_variational;
  packed->first_weight_t = Floats(networks.first_weight_t);
  packed->first_bias = Floats(networks.z_encoder.stack.layers[0].bias);
  packed->encoder = PackGaussian(networks.z_encoder, /*with_first=*/false);
  packed->likelihood = LikelihoodOf(a.gene_likelihood);
  if (a.dispersion == Dispersion::kGene) packed->theta = Floats(at::exp(networks.px_r));
  if (networks.proteins.has_value()) {
    packed->proteins = PackProteins(*a.proteins, networks.px_decoder, *networks.proteins);
    return packed;
  }
  packed->decoder = PackStack(networks.px_decoder, /*with_first=*/true);
  Parts heads;
  heads.Add(networks.px_scale.weight, networks.px_scale.bias, kNoGene);
  if (packed->likelihood == CountLikelihood::kZinb) {
    heads.Add(networks.px_dropout.weight, networks.px_dropout.bias);
  }
  packed->gene_heads = heads.PanelAligned();
  if (networks.labels.has_value()) packed->labels = PackLabels(*networks.labels, a.n_labels);
  return packed;
}

BatchColumns BatchColumnsOf(const FcStack& stack) {
  BatchColumns columns;
  for (const FcLayer& layer : stack.layers) {
    const bool batch = stack.covariate == Covariate::kBatch && layer.columns.defined();
    columns.owned.push_back(batch ? layer.columns.detach().contiguous() : at::Tensor());
    columns.tables.push_back(batch ? columns.owned.back().data_ptr<float>() : nullptr);
  }
  return columns;
}

}  // namespace portolan
