#include "core/model/forward.h"

#include <algorithm>
#include <numbers>
#include <vector>

#include "core/model/likelihood.h"
#include "core/model/totalvi_forward.h"

namespace portolan {
namespace {

// torch clamps the probabilities of a Categorical to [eps, 1 - eps] before the logarithm.
constexpr double kProbabilityEpsilon = 1.1920928955078125e-07;

at::Tensor LogClamped(const at::Tensor& probabilities) {
  return at::log(at::clamp(probabilities, kProbabilityEpsilon, 1 - kProbabilityEpsilon));
}

struct Library {
  at::Tensor log_size;  ///< (B, 1)
  at::Tensor kl;        ///< (B); undefined if observed
};

Library ComputeLibrary(const ModelNetworks& n, const Minibatch& minibatch, const Pass& pass,
                       RandomUse use) {
  if (n.architecture.has_size_factor) return {at::log(minibatch.size_factors), {}};
  if (!n.l_encoder.has_value()) return {at::log(minibatch.counts.sum(1, true)), {}};
  const at::Tensor first = FirstLinear(n.l_encoder->stack, EncoderInput(n.architecture, minibatch));
  const GaussianOutput q = ForwardGaussian(*n.l_encoder, first, InputsOf(n, minibatch), pass);
  // The latent's numbers come first in a cell's stream; the library's is the one after them.
  const int64_t d = n.architecture.n_latent;
  const at::Tensor epsilon = DrawNormal(pass, use, d + 1).slice(1, d);
  const at::Tensor means = n.library_log_means.index_select(0, minibatch.batch_codes);
  const at::Tensor vars = n.library_log_vars.index_select(0, minibatch.batch_codes);
  const at::Tensor shift = q.mean - means;
  const at::Tensor kl =
      0.5 * (q.var / vars + shift * shift / vars - 1 - at::log(q.var / vars)).sum(-1);
  return {Sample(q, epsilon), kl};
}

// (G), or (B, G) where it is another for every cell. `h`: the decoder's last hidden layer.
at::Tensor LogDispersion(const ModelNetworks& n, const Minibatch& minibatch, const at::Tensor& h) {
  switch (n.architecture.dispersion) {
    case Dispersion::kGene:
      return n.px_r;
    case Dispersion::kGeneBatch:
      return n.px_r.index_select(0, minibatch.batch_codes);
    case Dispersion::kGeneLabel:
      return n.px_r.index_select(0, minibatch.labels);
    case Dispersion::kGeneCell:
      break;
  }
  return at::addmm(n.px_r_decoder.bias, h, n.px_r_decoder.weight.t());
}

at::Tensor Reconstruction(const ModelNetworks& n, const Minibatch& minibatch, const at::Tensor& z,
                          const at::Tensor& log_library, const Pass& pass) {
  const Architecture& a = n.architecture;
  const at::Tensor h =
      ForwardStack(n.px_decoder, FirstLinear(n.px_decoder, z), InputsOf(n, minibatch), pass);
  const at::Tensor logits = at::addmm(n.px_scale.bias, h, n.px_scale.weight.t());
  const at::Tensor scale = a.has_size_factor ? at::softplus(logits) : at::softmax(logits, -1);
  const at::Tensor rate = at::exp(log_library) * scale;
  at::Tensor dropout_logit;
  if (a.gene_likelihood == GeneLikelihood::kZinb) {
    dropout_logit = at::addmm(n.px_dropout.bias, h, n.px_dropout.weight.t());
  }
  const at::Tensor theta = at::exp(LogDispersion(n, minibatch, h));
  const at::Tensor constant = minibatch.count_terms.defined()
                                  ? minibatch.count_terms
                                  : CountTerms(a.gene_likelihood, minibatch.counts, theta);
  return ReconstructionWithoutCountTerms(a.gene_likelihood, minibatch.counts, rate, theta,
                                         dropout_logit) -
         constant;
}

// The digits of `i` in `base`, mirrored at the point: a number in (0, 1).
double RadicalInverse(int64_t i, int64_t base) {
  double inverse = 0;
  double digit = 1;
  for (; i > 0; i /= base) {
    digit /= static_cast<double>(base);
    inverse += digit * static_cast<double>(i % base);
  }
  return inverse;
}

// Points that fill the standard normal distribution evenly, (n, width): Halton's sequence through
// the inverse distribution function.
at::Tensor NormalPoints(int64_t n, int64_t width) {
  std::vector<int64_t> primes;
  for (int64_t p = 2; static_cast<int64_t>(primes.size()) < width; ++p) {
    const auto divides = [p](int64_t prime) { return p % prime == 0; };
    if (std::none_of(primes.begin(), primes.end(), divides)) primes.push_back(p);
  }
  std::vector<float> points;
  for (int64_t i = 1; i <= n; ++i) {
    for (const int64_t prime : primes) {
      points.push_back(static_cast<float>(2 * RadicalInverse(i, prime) - 1));
    }
  }
  return std::numbers::sqrt2 *
         at::erfinv(at::from_blob(points.data(), {n, width}, at::kFloat).clone());
}

/// SCANVI's sums over labels, with the labels in blocks (label-major).
struct LabelTerms {
  at::Tensor u;   ///< (B, L): -log p(z1 | z2, y)
  at::Tensor k2;  ///< (B, L): KL(q(z2 | z1, y) || N(0, 1))
};

// weight x + bias of the first Linear for every label: the part of x is shared.
at::Tensor FirstForLabels(const FcStack& stack, const at::Tensor& first, int64_t labels) {
  return first.unsqueeze(0)
      .expand({labels, first.size(0), first.size(1)})
      .reshape({labels * first.size(0), stack.layers[0].weight.size(0)});
}

LabelTerms SumOverLabels(const LabelNetworks& networks, const at::Tensor& z1, int64_t labels,
                         Pass pass, RandomUse use) {
  const int64_t cells = z1.size(0);
  pass.repeats = labels;
  const at::Tensor codes = at::arange(labels).repeat_interleave(cells);
  const FcStack& encoder = networks.encoder_z2_z1.stack;
  const GaussianOutput q2 =
      ForwardGaussian(networks.encoder_z2_z1,
                      FirstForLabels(encoder, FirstLinear(encoder, z1), labels), codes, pass);
  const at::Tensor z2 = Sample(q2, DrawNormal(pass, use, z1.size(1)));
  const FcStack& decoder = networks.decoder_z1_z2.stack;
  const GaussianOutput p1 =
      ForwardGaussian(networks.decoder_z1_z2, FirstLinear(decoder, z2), codes, pass);
  const auto per_cell = [&](const at::Tensor& t) { return t.reshape({labels, cells}).t(); };
  return {per_cell(-NormalLogProb(z1.repeat({labels, 1}), p1.mean, p1.var)),
          per_cell(KlStandardNormal(q2))};
}

}  // namespace

at::Tensor LossTerms::Loss(double kl_weight) const {
  const at::Tensor loss = reconstruction + kl_weight * kl + kl_unweighted;
  if (!protein_reconstruction.defined()) return loss;
  return loss + (proteins_under_kl_weight ? kl_weight : 1.0) * protein_reconstruction;
}

at::Tensor LossTerms::Reconstruction() const {
  return protein_reconstruction.defined() ? reconstruction + protein_reconstruction
                                          : reconstruction;
}

at::Tensor EncoderInput(const Architecture& architecture, const Minibatch& minibatch) {
  const at::Tensor& counts = minibatch.counts;
  if (architecture.proteins.has_value()) {
    return TotalviEncoderInput(architecture, counts, minibatch.proteins);
  }
  return architecture.log_variational ? at::log1p(counts) : counts;
}

StackInputs InputsOf(const ModelNetworks& networks, const Minibatch& minibatch) {
  StackInputs inputs(minibatch.batch_codes);
  inputs.categorical = minibatch.categorical;
  inputs.extra = minibatch.continuous;
  if (networks.batch_embedding.defined()) {
    const at::Tensor vectors = networks.batch_embedding.index_select(0, minibatch.batch_codes);
    inputs.extra = inputs.extra.defined() ? at::cat({inputs.extra, vectors}, 1) : vectors;
  }
  return inputs;
}

GaussianOutput EncodeLatent(const ModelNetworks& networks, const Minibatch& minibatch) {
  return ForwardGaussian(networks.z_encoder, minibatch.first, InputsOf(networks, minibatch),
                         Pass{});
}

at::Tensor ExpectedLatent(const Architecture& architecture, const GaussianOutput& q) {
  if (architecture.latent_distribution == LatentDistribution::kNormal) return q.mean;
  constexpr int64_t kPairs = 2500;
  constexpr int64_t kPairsAtOnce = 250;
  const at::Tensor all = NormalPoints(kPairs, q.mean.size(1)).unsqueeze(0);
  const at::Tensor scale = at::sqrt(q.var).unsqueeze(1);
  const at::Tensor mean = q.mean.unsqueeze(1);
  at::Tensor sum = at::zeros_like(q.mean);
  for (int64_t begin = 0; begin < kPairs; begin += kPairsAtOnce) {
    const at::Tensor shift = scale * all.slice(1, begin, begin + kPairsAtOnce);
    sum = sum + at::softmax(mean + shift, -1).sum(1) + at::softmax(mean - shift, -1).sum(1);
  }
  return sum / (2.0 * kPairs);
}

at::Tensor ClassProbabilities(const ModelNetworks& networks, const at::Tensor& z) {
  return at::softmax(ClassifierLogits(networks.labels->classifier, z, Pass{}), -1);
}

at::Tensor ClassificationLoss(const ModelNetworks& networks, const Minibatch& labelled,
                              bool training, NoiseSource& noise) {
  Pass pass{training, &noise, labelled.rows};
  pass.stream = "labelled/";
  const GaussianOutput q =
      ForwardGaussian(networks.z_encoder, labelled.first, InputsOf(networks, labelled), pass);
  const at::Tensor logits = ClassifierLogits(networks.labels->classifier, q.mean, pass);
  const at::Tensor chosen =
      at::log_softmax(logits, -1).gather(1, labelled.labels.unsqueeze(1)).squeeze(1);
  return -chosen.mean();
}

LossTerms ComputeLoss(const ModelNetworks& n, const Minibatch& minibatch, bool training,
                      RandomUse use_noise, NoiseSource& noise) {
  if (n.proteins.has_value()) return ComputeTotalviLoss(n, minibatch, training, use_noise, noise);
  const Pass pass{training, &noise, minibatch.rows};
  const GaussianOutput q =
      ForwardGaussian(n.z_encoder, minibatch.first, InputsOf(n, minibatch), pass);
  const Architecture& a = n.architecture;
  at::Tensor z = Sample(q, DrawNormal(pass, use_noise, a.n_latent));
  if (a.latent_distribution == LatentDistribution::kLogisticNormal) z = at::softmax(z, -1);
  const Library library = ComputeLibrary(n, minibatch, pass, use_noise);
  LossTerms terms;
  terms.latent = z;
  terms.reconstruction = Reconstruction(n, minibatch, z, library.log_size, pass);
  terms.kl_unweighted = at::zeros_like(terms.reconstruction);
  if (!n.labels.has_value()) {
    terms.kl = KlStandardNormal(q);
    if (library.kl.defined()) terms.kl_unweighted = library.kl;
    return terms;
  }
  const at::Tensor probabilities = at::softmax(ClassifierLogits(n.labels->classifier, z, pass), -1);
  const RandomUse label_noise = use_noise == RandomUse::kLatentNoise ? RandomUse::kLabelLatentNoise
                                                                     : RandomUse::kLabelElboNoise;
  const LabelTerms sums = SumOverLabels(*n.labels, z, a.n_labels, pass, label_noise);
  terms.reconstruction =
      terms.reconstruction + NormalLogProb(z, q.mean, q.var) + (probabilities * sums.u).sum(-1);
  terms.kl = (probabilities * sums.k2).sum(-1) +
             (probabilities * (LogClamped(probabilities) - LogClamped(n.labels->y_prior))).sum(-1);
  // SCANVI anneals the library's KL together with the rest.
  if (library.kl.defined()) terms.kl = terms.kl + library.kl;
  return terms;
}

}  // namespace portolan
