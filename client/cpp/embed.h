#pragma once

#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/count_block.h"
#include "client/cpp/mapping.h"

namespace portolan::client {

/// What an embedding stream returned.
struct EmbedResult {
  v1::EmbedResponse::Header header;
  EmbeddingRows rows;
};

/// Cells of batches that a version already knows, embedded while they stream: blocks go out under
/// flow control, a thread of its own collects the answers. Nothing is stored on the server, so a
/// broken stream is an error and the caller starts anew. Not thread-safe; `client` outlives it.
class EmbedStream {
 public:
  EmbedStream(Client& client, const v1::EmbedRequest::Header& header);
  ~EmbedStream();
  EmbedStream(const EmbedStream&) = delete;
  EmbedStream& operator=(const EmbedStream&) = delete;

  /// Sends cells. After an error call Finish, which tells why.
  absl::Status Add(const CellBlock& cells);

  /// Waits for the remaining answers. Errors: the server's; kDataLoss when rows are missing or
  /// damaged; kCancelled on an interrupted client.
  absl::StatusOr<EmbedResult> Finish();

 private:
  void Collect();
  void Join();

  Client& client_;
  Client::Call call_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::EmbedRequest, v1::EmbedResponse>> stream_;
  EmbedResult result_;      ///< the collector's until it is joined
  absl::Status bad_block_;  ///< the collector's until it is joined
  int64_t cells_sent_ = 0;
  bool finished_ = false;
  std::thread collector_;
};

}  // namespace portolan::client
