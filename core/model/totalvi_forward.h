#pragma once

#include <ATen/ATen.h>

#include "core/base/philox.h"
#include "core/model/forward.h"
#include "core/model/networks.h"
#include "core/model/pass.h"

namespace portolan {

/// What TOTALVI's decoder says of cells; B rows, G genes, P proteins.
struct TotalviDecoding {
  at::Tensor gene_scale;    ///< (B, G), rows sum to one
  at::Tensor gene_dropout;  ///< (B, G) logits; undefined unless zinb
  at::Tensor back_mean;     ///< (B, P) of the log background
  at::Tensor back_std;      ///< (B, P) its standard deviation
  at::Tensor rate_back;     ///< (B, P) a sample: exp(back_mean + back_std epsilon)
  at::Tensor rate_fore;     ///< (B, P) rate_back times a factor above 1
  at::Tensor mixing;        ///< (B, P) logits of background (not of foreground)
};

/// The decoder at latents `z` (B, D). `epsilon`: standard normals (B, P) of the background, which
/// is a sample in eval mode, too. The background's scale goes by the version that saved the model.
TotalviDecoding DecodeTotalvi(const ModelNetworks& networks, const at::Tensor& z,
                              const at::Tensor& batch_codes, const at::Tensor& epsilon,
                              const Pass& pass);

/// What the encoder sees: [f(genes) | f(proteins)], f = log(1 + .); since 1.3.1 of counts divided
/// by 1 + their mean over the cell. (B, G), (B, P) -> (B, G + P).
at::Tensor TotalviEncoderInput(const Architecture& architecture, const at::Tensor& counts,
                               const at::Tensor& proteins);

/// TOTALVI's loss terms; see ComputeLoss. Proteins that a cell's batch has not measured drop out of
/// the protein reconstruction and of the background's KL.
LossTerms ComputeTotalviLoss(const ModelNetworks& networks, const Minibatch& minibatch,
                             bool training, RandomUse use_noise, NoiseSource& noise);

}  // namespace portolan
