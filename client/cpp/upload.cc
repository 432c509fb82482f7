#include "client/cpp/upload.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/error.h"
#include "core/base/status_macros.h"

namespace portolan::client {

struct Uploader::Stream {
  explicit Stream(Client& client)
      : call(client), writer(client.uploads().WriteParts(call.context(), &answer)) {}

  Client::Call call;
  v1::Upload answer;
  std::unique_ptr<grpc::ClientWriter<v1::WritePartRequest>> writer;
};

absl::StatusOr<std::unique_ptr<Uploader>> Uploader::Start(Client& client,
                                                          const v1::CreateUploadRequest& request,
                                                          UploadOptions options) {
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Upload upload, client.CreateUpload(request));
  return std::unique_ptr<Uploader>(new Uploader(client, upload.name(), std::move(options)));
}

Uploader::Uploader(Client& client, std::string name, UploadOptions options)
    : client_(client),
      name_(std::move(name)),
      options_(std::move(options)),
      retrier_(client.options().streams, client.interrupted()) {}

Uploader::~Uploader() {
  if (stream_) {
    stream_->call.context()->TryCancel();
    EndStream();
  }
  // The server expires abandoned uploads itself, so a failure here changes nothing.
  if (!complete_) client_.DeleteUpload(name_).IgnoreError();
}

absl::Status Uploader::Add(const CellBlock& cells) {
  return EncodeParts(cells, options_.part_bytes,
                     [&](v1::CountBlock block) { return Send(std::move(block)); });
}

absl::StatusOr<v1::Upload> Uploader::Complete() {
  PORTOLAN_RETURN_IF_ERROR(Flush());
  PORTOLAN_ASSIGN_OR_RETURN(v1::Upload upload, client_.CompleteUpload(name_));
  complete_ = true;
  return upload;
}

absl::Status Uploader::Send(v1::CountBlock block) {
  PORTOLAN_RETURN_IF_ERROR(client_.interrupted().Check());
  cells_sent_ += block.cell_names_size();
  v1::WritePartRequest part;
  part.set_upload(name_);
  part.set_part(next_part_++);
  *part.mutable_block() = std::move(block);
  window_.push_back(std::move(part));
  if (!Write(window_.back())) PORTOLAN_RETURN_IF_ERROR(Resume(EndStream()));
  if (options_.on_progress) options_.on_progress(cells_sent_);
  if (static_cast<int64_t>(window_.size()) < options_.window) return absl::OkStatus();
  return Flush();
}

absl::Status Uploader::Flush() {
  while (stream_) {
    stream_->writer->WritesDone();
    const grpc::Status status = stream_->writer->Finish();
    const int64_t acknowledged = stream_->answer.next_part();
    stream_.reset();
    if (status.ok()) {
      PORTOLAN_RETURN_IF_ERROR(DropAcknowledged(acknowledged));
      if (window_.empty()) return absl::OkStatus();
    }
    const grpc::Status cause =
        status.ok() ? grpc::Status(grpc::StatusCode::ABORTED, "the server ended the stream early")
                    : status;
    PORTOLAN_RETURN_IF_ERROR(Resume(cause));
  }
  return absl::OkStatus();
}

bool Uploader::Write(const v1::WritePartRequest& part) {
  if (!stream_) stream_ = std::make_unique<Stream>(client_);
  return stream_->writer->Write(part);
}

bool Uploader::WriteWindow() {
  for (const v1::WritePartRequest& part : window_) {
    if (!Write(part)) return false;
  }
  return true;
}

grpc::Status Uploader::EndStream() {
  grpc::Status status = stream_->writer->Finish();
  stream_.reset();
  // A write that fails on a stream that ends well: the server stopped reading too early.
  if (status.ok()) status = {grpc::StatusCode::ABORTED, "the server ended the stream early"};
  return status;
}

absl::Status Uploader::Resume(grpc::Status failure) {
  while (true) {
    PORTOLAN_RETURN_IF_ERROR(client_.interrupted().Check());
    if (!StreamMayResume(failure)) return FromGrpcStatus(failure);
    if (!retrier_.WaitBeforeRetry(failure)) {
      PORTOLAN_RETURN_IF_ERROR(client_.interrupted().Check());
      return FromGrpcStatus(failure);
    }
    PORTOLAN_ASSIGN_OR_RETURN(const v1::Upload upload, client_.GetUpload(name_));
    PORTOLAN_RETURN_IF_ERROR(DropAcknowledged(upload.next_part()));
    if (window_.empty() || WriteWindow()) return absl::OkStatus();
    failure = EndStream();
  }
}

absl::Status Uploader::DropAcknowledged(int64_t next_part) {
  const int64_t kept_from = next_part_ - static_cast<int64_t>(window_.size());
  if (next_part < kept_from || next_part > next_part_) {
    return absl::AbortedError(absl::StrCat(
        "upload ", name_, ": the server expects part ", next_part, ", the client holds parts ",
        kept_from, " to ", next_part_ - 1, ". Run the command again to upload anew"));
  }
  if (next_part > kept_from) retrier_.Reset();
  while (!window_.empty() && window_.front().part() < next_part) window_.pop_front();
  return absl::OkStatus();
}

}  // namespace portolan::client
