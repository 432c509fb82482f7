#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "absl/status/status.h"
#include "core/archive/saved_model.h"
#include "core/kernels/batch_tables.h"
#include "core/model/layers.h"
#include "core/model/network_loader.h"
#include "core/model/tensor_refs.h"

namespace portolan {

struct ModelNetworks;

/// TOTALVI's part of the networks. Its encoder, library encoder and gene body stand where SCVI's
/// do: ModelNetworks' z_encoder ("encoder"), l_encoder and px_decoder.
///
/// A body is an FC stack on z; a head is one Linear on [body | z] that sees the batch, kept as a
/// stack of one layer of which only the Linear is used.
struct ProteinNetworks {
  at::Tensor background_mean;     ///< (K, P) background_pro_alpha: prior mean of log background
  at::Tensor background_log_std;  ///< (K, P) background_pro_log_beta: log of its deviation
  at::Tensor log_efficiency;      ///< (K, P) log_per_batch_efficiency; undefined before 1.3.1
  at::Tensor py_r;                ///< (P), or (K, P) per batch: log inverse dispersion
  at::Tensor measured;            ///< (K, P) 1 where the batch's panel has the protein, else 0

  FcStack back_body;  ///< py_back_decoder
  FcStack fore_body;  ///< py_fore_decoder
  FcStack mix_body;   ///< sigmoid_decoder

  FcStack gene_scale;    ///< px_scale_decoder, on px_decoder
  FcStack back_mean;     ///< py_back_mean_log_alpha, on back_body
  FcStack back_std;      ///< py_back_mean_log_beta, on back_body
  FcStack fore_scale;    ///< py_fore_scale_decoder, on fore_body
  FcStack gene_dropout;  ///< px_dropout_decoder_gene, on mix_body; no layers unless zinb
  FcStack mixing;        ///< py_background_decoder, on mix_body
};

/// kUnimplemented for what is read but not served (a panel key, labels that share a dispersion).
absl::Status CheckTotalviServed(const ModelDescription& description);

/// Fills the networks of a TOTALVI model. `networks` has its architecture and batches already.
absl::Status LoadTotalvi(const SavedModel& saved, ModelNetworks& networks);

/// Appends the tensors (stacks) of the part, in a fixed order.
void AddProteins(ProteinNetworks& proteins, std::vector<TensorRef>& refs);
void AddProteinStacks(ProteinNetworks& proteins, std::vector<FcStack*>& stacks);

}  // namespace portolan
