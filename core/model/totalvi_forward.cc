#include "core/model/totalvi_forward.h"

#include <cmath>
#include <numbers>

#include "core/model/likelihood.h"

namespace portolan {
namespace {

constexpr double kEpsilon = 1e-8;
constexpr double kMostLogLibrary = 15;

at::Tensor Head(const FcStack& head, const at::Tensor& body_z, const at::Tensor& codes) {
  const at::Tensor out = FirstLinear(head, body_z);
  const at::Tensor& columns = head.layers[0].columns;
  return columns.defined() ? out + columns.index_select(0, codes) : out;
}

at::Tensor BackgroundStd(TotalviVariant variant, const at::Tensor& u) {
  if (variant == TotalviVariant::kExp) return at::exp(u);
  const at::Tensor std = at::softplus(u);
  return variant == TotalviVariant::kSoftplus ? std : std + kEpsilon;
}

// log p(y) of the mixture of two negative binomials with a common dispersion, (B, P). The terms of
// counts and dispersion alone cancel badly in float and are taken in double.
at::Tensor LogMixture(const at::Tensor& y, const at::Tensor& mu1, const at::Tensor& mu2,
                      const at::Tensor& theta, const at::Tensor& logit) {
  const auto component = [&](const at::Tensor& mu) {
    const at::Tensor log_theta_mu = at::log(theta + mu + kEpsilon);
    return theta * (at::log(theta + kEpsilon) - log_theta_mu) +
           y * (at::log(mu + kEpsilon) - log_theta_mu);
  };
  const at::Tensor exact_y = y.to(at::kDouble);
  const at::Tensor exact_theta = theta.to(at::kDouble);
  const at::Tensor constant =
      (at::lgamma(exact_y + exact_theta) - at::lgamma(exact_theta) - at::lgamma(exact_y + 1))
          .to(at::kFloat);
  return at::logaddexp(component(mu1), component(mu2) - logit) + constant - at::softplus(-logit);
}

struct Library {
  at::Tensor size;  ///< (B, 1), not its logarithm
  at::Tensor kl;    ///< (B); undefined if observed
};

Library ComputeLibrary(const ModelNetworks& n, const Minibatch& minibatch, const Pass& pass,
                       RandomUse use) {
  if (!n.l_encoder.has_value()) return {minibatch.counts.sum(1, true), {}};
  const at::Tensor first = FirstLinear(n.l_encoder->stack, EncoderInput(n.architecture, minibatch));
  const GaussianOutput q = ForwardGaussian(*n.l_encoder, first, minibatch.batch_codes, pass);
  // The latent's numbers come first in a cell's stream; the library's is the one after them.
  const int64_t d = n.architecture.n_latent;
  const at::Tensor epsilon = DrawNormal(pass, use, d + 1).slice(1, d);
  const at::Tensor means = n.library_log_means.index_select(0, minibatch.batch_codes);
  const at::Tensor vars = n.library_log_vars.index_select(0, minibatch.batch_codes);
  const at::Tensor shift = q.mean - means;
  const at::Tensor kl =
      0.5 * (q.var / vars + shift * shift / vars - 1 - at::log(q.var / vars)).sum(-1);
  return {at::exp(at::clamp_max(Sample(q, epsilon), kMostLogLibrary)), kl};
}

at::Tensor GeneReconstruction(const ModelNetworks& n, const Minibatch& minibatch,
                              const TotalviDecoding& decoded, const at::Tensor& library) {
  const GeneLikelihood likelihood = n.architecture.gene_likelihood;
  const at::Tensor theta = at::exp(n.architecture.dispersion == Dispersion::kGeneBatch
                                       ? n.px_r.index_select(0, minibatch.batch_codes)
                                       : n.px_r);
  const at::Tensor constant = minibatch.count_terms.defined()
                                  ? minibatch.count_terms
                                  : CountTerms(likelihood, minibatch.counts, theta);
  return ReconstructionWithoutCountTerms(likelihood, minibatch.counts, library * decoded.gene_scale,
                                         theta, decoded.gene_dropout) -
         constant;
}

at::Tensor ProteinReconstruction(const ProteinNetworks& p, const Minibatch& minibatch,
                                 const TotalviDecoding& decoded, const at::Tensor& measured) {
  const at::Tensor& codes = minibatch.batch_codes;
  const at::Tensor theta = at::exp(p.py_r.dim() == 2 ? p.py_r.index_select(0, codes) : p.py_r);
  at::Tensor back = decoded.rate_back;
  at::Tensor fore = decoded.rate_fore;
  if (p.log_efficiency.defined()) {
    const at::Tensor efficiency = at::exp(p.log_efficiency.index_select(0, codes));
    back = efficiency * back;
    fore = efficiency * fore;
  }
  return -(measured * LogMixture(minibatch.proteins, back, fore, theta, decoded.mixing)).sum(-1);
}

// KL(N(mean, std) || N(prior)) over the measured proteins, and since 1.3.1 two penalties over all.
at::Tensor BackgroundKl(const ProteinNetworks& p, const Minibatch& minibatch,
                        const TotalviDecoding& decoded, const at::Tensor& measured) {
  const at::Tensor& codes = minibatch.batch_codes;
  const at::Tensor prior_std = at::exp(p.background_log_std.index_select(0, codes));
  const at::Tensor ratio = at::square(decoded.back_std / prior_std);
  const at::Tensor shift =
      at::square((decoded.back_mean - p.background_mean.index_select(0, codes)) / prior_std);
  const at::Tensor kl = (measured * (0.5 * (ratio + shift - 1 - at::log(ratio)))).sum(-1);
  if (!p.log_efficiency.defined()) return kl;
  const at::Tensor e = p.log_efficiency.index_select(0, codes);
  const at::Tensor efficiency = 0.5 * e * e + e + 0.5 * std::log(2 * std::numbers::pi);
  return kl + efficiency.sum(-1) + 1e-3 * at::softplus(-decoded.mixing).sum(-1);
}

}  // namespace

TotalviDecoding DecodeTotalvi(const ModelNetworks& n, const at::Tensor& z, const at::Tensor& codes,
                              const at::Tensor& epsilon, const Pass& pass) {
  const ProteinNetworks& p = *n.proteins;
  const auto body = [&](const FcStack& stack) {
    return at::cat({ForwardStack(stack, FirstLinear(stack, z), codes, pass), z}, 1);
  };
  TotalviDecoding out;
  out.gene_scale = at::softmax(Head(p.gene_scale, body(n.px_decoder), codes), -1);
  const at::Tensor back = body(p.back_body);
  out.back_mean = Head(p.back_mean, back, codes);
  out.back_std = BackgroundStd(n.architecture.proteins->variant, Head(p.back_std, back, codes));
  out.rate_back = at::exp(out.back_mean + out.back_std * epsilon);
  out.rate_fore =
      out.rate_back * (at::relu(Head(p.fore_scale, body(p.fore_body), codes)) + 1 + kEpsilon);
  const at::Tensor mix = body(p.mix_body);
  if (!p.gene_dropout.layers.empty()) out.gene_dropout = Head(p.gene_dropout, mix, codes);
  out.mixing = Head(p.mixing, mix, codes);
  return out;
}

at::Tensor TotalviEncoderInput(const Architecture& a, const at::Tensor& counts,
                               const at::Tensor& proteins) {
  const auto part = [&](const at::Tensor& x) {
    const bool scaled = a.proteins->variant == TotalviVariant::kCellMean;
    const at::Tensor y = scaled ? x / (1 + x.mean(1, /*keepdim=*/true)) : x;
    return a.log_variational ? at::log1p(y) : y;
  };
  return at::cat({part(counts), part(proteins)}, 1);
}

LossTerms ComputeTotalviLoss(const ModelNetworks& n, const Minibatch& minibatch, bool training,
                             RandomUse use_noise, NoiseSource& noise) {
  const Architecture& a = n.architecture;
  const Pass pass{training, &noise, minibatch.rows};
  const GaussianOutput q =
      ForwardGaussian(n.z_encoder, minibatch.first, minibatch.batch_codes, pass);
  const at::Tensor z = Sample(q, DrawNormal(pass, use_noise, a.n_latent));
  const Library library = ComputeLibrary(n, minibatch, pass, use_noise);
  const RandomUse background = use_noise == RandomUse::kLatentNoise
                                   ? RandomUse::kBackgroundNoise
                                   : RandomUse::kBackgroundElboNoise;
  const at::Tensor epsilon = DrawNormal(pass, background, a.proteins->n_proteins);
  const TotalviDecoding decoded = DecodeTotalvi(n, z, minibatch.batch_codes, epsilon, pass);
  const at::Tensor measured = n.proteins->measured.index_select(0, minibatch.batch_codes);
  LossTerms terms;
  terms.latent = z;
  terms.reconstruction = GeneReconstruction(n, minibatch, decoded, library.size);
  terms.protein_reconstruction = ProteinReconstruction(*n.proteins, minibatch, decoded, measured);
  terms.proteins_under_kl_weight = a.proteins->variant == TotalviVariant::kCellMean;
  terms.kl = KlStandardNormal(q) + BackgroundKl(*n.proteins, minibatch, decoded, measured);
  terms.kl_unweighted = library.kl.defined() ? library.kl : at::zeros_like(terms.reconstruction);
  return terms;
}

}  // namespace portolan
