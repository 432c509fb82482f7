#include "client/cpp/export.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/error.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

constexpr int64_t kMostBytes = int64_t{16} << 30;

absl::Status Damaged(const std::string& version, const std::string& what) {
  return absl::DataLossError(absl::StrCat("the export of ", version, " ", what));
}

/// One message into `exported`; the first must be the header.
absl::Status Take(v1::ExportVersionResponse& message, const std::string& version, bool first,
                  ExportedVersion& exported) {
  if (first != message.has_header()) return Damaged(version, "has its parts out of order");
  if (first) {
    exported.header = std::move(*message.mutable_header());
    if (exported.header.bytes() < 0 || exported.header.bytes() > kMostBytes) {
      return Damaged(version, absl::StrCat("states ", exported.header.bytes(), " bytes"));
    }
    return absl::OkStatus();
  }
  exported.file += message.chunk();
  if (static_cast<int64_t>(exported.file.size()) <= exported.header.bytes()) {
    return absl::OkStatus();
  }
  return Damaged(version, "is longer than it states");
}

grpc::Status ReadOnce(Client& client, const std::string& version, ExportedVersion& exported,
                      absl::Status& bad) {
  v1::ExportVersionRequest request;
  request.set_name(version);
  Client::Call call(client);
  auto reader = client.atlases().ExportVersion(call.context(), request);
  v1::ExportVersionResponse message;
  bool first = true;
  while (bad.ok() && reader->Read(&message)) {
    bad = Take(message, version, first, exported);
    first = false;
  }
  if (!bad.ok()) call.context()->TryCancel();
  return reader->Finish();
}

}  // namespace

absl::StatusOr<ExportedVersion> ExportVersion(Client& client, const std::string& version) {
  Retrier retrier(client.options().streams, client.interrupted());
  while (true) {
    PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
    ExportedVersion exported;
    absl::Status bad;
    const grpc::Status status = ReadOnce(client, version, exported, bad);
    PORTOLAN_RETURN_IF_ERROR(bad);
    if (status.ok()) {
      if (static_cast<int64_t>(exported.file.size()) != exported.header.bytes() ||
          Sha256Hex(exported.file) != exported.header.sha256()) {
        return Damaged(version, "did not arrive as it was sent");
      }
      return exported;
    }
    PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
    if (!StreamMayResume(status) || !retrier.WaitBeforeRetry(status)) {
      return FromGrpcStatus(status);
    }
  }
}

}  // namespace portolan::client
