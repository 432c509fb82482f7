#pragma once

#include <grpcpp/support/sync_stream.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/count_block.h"

namespace portolan::client {

struct UploadOptions {
  int64_t part_bytes = kPartBytes;
  /// Parts per stream. A stream's end acknowledges its parts; until then they are kept for a
  /// resumption, so this bounds the memory of an upload.
  int64_t window = 32;
  std::function<void(int64_t cells_sent)> on_progress;
};

/// One upload, written block by block. Each block is cut into parts and streamed; the stream's flow
/// control holds the caller back. A broken stream is opened again with the part that the server
/// names, as often in a row as the client's `streams` policy allows. An upload that is not
/// completed is deleted with the object (best effort). Not thread-safe; `client` outlives it.
class Uploader {
 public:
  static absl::StatusOr<std::unique_ptr<Uploader>> Start(Client& client,
                                                         const v1::CreateUploadRequest& request,
                                                         UploadOptions options = {});
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  /// Sends the cells. Errors: what the server refused, kAborted when it lost parts that it had
  /// acknowledged, kCancelled on an interrupted client. After an error only destruction is left.
  absl::Status Add(const CellBlock& cells);

  /// Ends the stream and completes the upload.
  absl::StatusOr<v1::Upload> Complete();

  const std::string& name() const { return name_; }

 private:
  struct Stream;

  Uploader(Client& client, std::string name, UploadOptions options);

  absl::Status Send(v1::CountBlock block);
  absl::Status Flush();
  bool Write(const v1::WritePartRequest& part);
  bool WriteWindow();
  grpc::Status EndStream();
  absl::Status Resume(grpc::Status failure);
  absl::Status DropAcknowledged(int64_t next_part);

  Client& client_;
  const std::string name_;
  const UploadOptions options_;
  Retrier retrier_;
  std::unique_ptr<Stream> stream_;
  std::deque<v1::WritePartRequest> window_;  ///< sent, or to be sent, but not acknowledged
  int64_t next_part_ = 0;
  int64_t cells_sent_ = 0;
  bool complete_ = false;
};

}  // namespace portolan::client
