#include "server/export_stream.h"

#include <algorithm>
#include <utility>

#include "core/atlas/export.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

class ExportReactor final : public grpc::ServerWriteReactor<v1::ExportVersionResponse> {
 public:
  explicit ExportReactor(ResolvedVersion version) : version_(std::move(version)) {}

  void Start(Executor& executor) {
    executor.Run([this] {
      const absl::Status status = Fenced([this] { return WriteFile(); });
      if (status.ok()) {
        StartWrite(&message_);
      } else {
        Finish(ToGrpcStatus(status));
      }
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      Finish(ToGrpcStatus(absl::CancelledError("the reader has gone")));
    } else if (sent_ == exported_.file.size()) {
      Finish(grpc::Status::OK);
    } else {
      const size_t bytes = std::min(kChunkBytes, exported_.file.size() - sent_);
      message_.set_chunk(exported_.file.data() + sent_, bytes);
      sent_ += bytes;
      StartWrite(&message_);
    }
  }

  void OnDone() override { delete this; }

 private:
  absl::Status WriteFile() {
    PORTOLAN_ASSIGN_OR_RETURN(exported_, ExportVersion(*version_.atlas, *version_.version));
    v1::ExportVersionResponse::Header* header = message_.mutable_header();
    header->set_version_id(version_.version->id);
    header->set_scvi_version(exported_.scvi_version);
    header->set_bytes(static_cast<int64_t>(exported_.file.size()));
    header->set_sha256(Sha256Hex(exported_.file));
    header->mutable_notes()->Add(exported_.notes.begin(), exported_.notes.end());
    return absl::OkStatus();
  }

  const ResolvedVersion version_;
  ExportedModel exported_;
  v1::ExportVersionResponse message_;  ///< of the write under way
  size_t sent_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::ExportVersionResponse>* StreamExport(ResolvedVersion version,
                                                                  Executor& executor) {
  auto* reactor = new ExportReactor(std::move(version));
  reactor->Start(executor);
  return reactor;
}

}  // namespace portolan::server
