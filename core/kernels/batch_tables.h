#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/kernels/packed_networks.h"

namespace portolan {

/// A table of batch columns, (batches, width), that surgery trains.
struct BatchTable {
  std::string key;  ///< in the state dict
  int64_t width = 0;
};

/// The tables that the networks see, in the order in which gradients stand: that in which the
/// networks are listed elsewhere, too (Tensors in core/model). TOTALVI: those of the encoder, of
/// the genes' body, the background's prior, the other bodies, the heads.
std::vector<BatchTable> BatchTables(const PackedNetworks& networks);

inline constexpr char kPriorMeanKey[] = "background_pro_alpha";
inline constexpr char kPriorLogDeviationKey[] = "background_pro_log_beta";

}  // namespace portolan
