#include "client/cpp/embed.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/error.h"
#include "core/base/status_macros.h"

namespace portolan::client {

EmbedStream::EmbedStream(Client& client, const v1::EmbedRequest::Header& header)
    : client_(client), call_(client), stream_(client.embeddings().Embed(call_.context())) {
  v1::EmbedRequest request;
  *request.mutable_header() = header;
  // A stream that is already broken says so at the next write, and Finish tells why.
  stream_->Write(request);
  collector_ = std::thread([this] { Collect(); });
}

EmbedStream::~EmbedStream() {
  if (finished_) return;
  call_.context()->TryCancel();
  Join();
  stream_->Finish();
}

absl::Status EmbedStream::Add(const CellBlock& cells) {
  return EncodeParts(cells, kPartBytes, [&](v1::CountBlock block) {
    PORTOLAN_RETURN_IF_ERROR(client_.interrupted().Check());
    cells_sent_ += block.cell_names_size();
    v1::EmbedRequest request;
    *request.mutable_block() = std::move(block);
    if (stream_->Write(request)) return absl::OkStatus();
    return absl::UnavailableError("the embedding stream broke");
  });
}

absl::StatusOr<EmbedResult> EmbedStream::Finish() {
  finished_ = true;
  stream_->WritesDone();
  Join();
  const grpc::Status status = stream_->Finish();
  PORTOLAN_RETURN_IF_ERROR(client_.interrupted().Check());
  PORTOLAN_RETURN_IF_ERROR(bad_block_);
  PORTOLAN_RETURN_IF_ERROR(FromGrpcStatus(status));
  if (result_.rows.cells != cells_sent_) {
    return absl::DataLossError(
        absl::StrCat("the server answered ", result_.rows.cells, " of ", cells_sent_, " cells"));
  }
  return std::move(result_);
}

void EmbedStream::Collect() {
  v1::EmbedResponse response;
  while (stream_->Read(&response)) {
    if (response.has_header()) {
      result_.header = response.header();
    } else if (bad_block_ = AppendBlock(response.block(), result_.rows); !bad_block_.ok()) {
      call_.context()->TryCancel();
    }
  }
}

void EmbedStream::Join() {
  if (collector_.joinable()) collector_.join();
}

}  // namespace portolan::client
