#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/kernels/packed_networks.h"

namespace portolan {

/// A table of batch columns, (batches, width).
struct BatchTable {
  std::string key;  ///< in the state dict
  int64_t width = 0;
};

/// The tables that surgery trains, in the order in which gradients stand: that in which the
/// networks are listed elsewhere, too (Tensors in core/model). TOTALVI: those of the encoder, of
/// the genes' body, the background's prior, the other bodies, the heads.
std::vector<BatchTable> TrainedTables(const PackedNetworks& networks);

/// The tables that the loss reads and surgery leaves alone: dispersions per batch; TOTALVI's
/// efficiency and masks.
std::vector<BatchTable> FrozenTables(const PackedNetworks& networks);

inline constexpr char kGeneDispersionKey[] = "px_r";
inline constexpr char kProteinDispersionKey[] = "py_r";
inline constexpr char kPriorMeanKey[] = "background_pro_alpha";
inline constexpr char kPriorLogDeviationKey[] = "background_pro_log_beta";
inline constexpr char kLogEfficiencyKey[] = "log_per_batch_efficiency";
/// Under which an extension holds what its batches have measured, 1 or 0. It is no tensor of a
/// state dict: scvi-tools keeps it in the registry.
inline constexpr char kProteinMaskKey[] = "protein_batch_mask";

}  // namespace portolan
