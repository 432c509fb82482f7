#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "portolan/v1/mapping.pb.h"

namespace portolan::client {

/// Rows of a result, in query order.
struct EmbeddingRows {
  int64_t cells = 0;
  int64_t n_latent = 0;
  int64_t n_labels = 0;              ///< 0 unless the reference is SCANVI
  std::vector<float> latent;         ///< cells x n_latent
  std::vector<float> probabilities;  ///< cells x n_labels
  std::vector<int32_t> label_codes;  ///< cells, or empty
};

/// Appends a block of the wire. kDataLoss when it is not the next one, or when its arrays have not
/// the sizes it states; codes are checked against n_labels.
absl::Status AppendBlock(const v1::EmbeddingBlock& block, EmbeddingRows& rows);

/// 128 random bits in hexadecimal, for CreateMappingRequest.request_id.
std::string RandomRequestId();

using MappingCallback = std::function<void(const v1::Mapping&)>;

/// Creates the mapping (with a random request id unless one is set) and follows it to its end;
/// `on_change` sees every state in the calling thread. A broken watch is opened again. When the
/// client is interrupted the mapping is cancelled on the server. Errors: the mapping's own, with
/// its field violation; kCancelled.
absl::StatusOr<v1::Mapping> RunMapping(Client& client, v1::CreateMappingRequest request,
                                       const MappingCallback& on_change);

/// The whole embedding of a mapping that succeeded, which must have `cells` rows. A broken stream
/// is read again from the start.
absl::StatusOr<EmbeddingRows> ReadEmbedding(Client& client, const std::string& mapping,
                                            int64_t cells);

}  // namespace portolan::client
