#include "client/cpp/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
// Cleaning up is worth one short attempt: whoever waits for it wants to leave.
constexpr std::chrono::seconds kCleanUpTimeout{10};
// Longer than the five minutes that a gRPC server grants an idle connection between two pings.
constexpr int kKeepaliveMillis = 6 * 60 * 1000;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

bool IsLocal(const std::string& address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]") || absl::StartsWith(address, "unix:");
}

grpc::ChannelArguments ChannelArguments(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMillis);
  // The default backs off to two minutes, far longer than a server takes to restart.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  // A proxy from the environment cannot reach this machine's loopback.
  if (IsLocal(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

std::string AtlasName(std::string_view atlas) {
  if (absl::StartsWith(Absl(atlas), "atlases/")) return std::string(atlas);
  return absl::StrCat("atlases/", Absl(atlas));
}

std::string VersionName(std::string_view atlas, std::string_view version) {
  if (absl::StartsWith(Absl(version), "atlases/")) return std::string(version);
  return absl::StrCat(AtlasName(atlas), "/versions/", Absl(version));
}

std::string ShortName(std::string_view name) {
  const size_t slash = name.rfind('/');
  return std::string(slash == std::string_view::npos ? name : name.substr(slash + 1));
}

Client::Call::Call(Client& client) : client_(client) {
  const std::lock_guard<std::mutex> lock(client_.mutex_);
  client_.calls_.insert(&context_);
  if (client_.interrupted_.cancelled()) context_.TryCancel();
}

Client::Call::~Call() {
  const std::lock_guard<std::mutex> lock(client_.mutex_);
  client_.calls_.erase(&context_);
}

Client::Client(ClientOptions options, std::shared_ptr<grpc::Channel> channel)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      atlases_(v1::AtlasService::NewStub(channel_)),
      uploads_(v1::UploadService::NewStub(channel_)),
      mappings_(v1::MappingService::NewStub(channel_)),
      embeddings_(v1::EmbeddingService::NewStub(channel_)) {}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ClientOptions options) {
  if (options.address.empty()) return ServerUnreachable("''", "the address is empty");
  auto channel = grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(),
                                           ChannelArguments(options.address));
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + options.connect_timeout)) {
    return ServerUnreachable(
        options.address, absl::StrCat("waited ", options.connect_timeout.count() / 1000.0, " s"));
  }
  return std::unique_ptr<Client>(new Client(std::move(options), std::move(channel)));
}

void Client::Interrupt() {
  interrupted_.Cancel();
  const std::lock_guard<std::mutex> lock(mutex_);
  for (grpc::ClientContext* call : calls_) call->TryCancel();
}

absl::Status Client::ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (interrupted_.cancelled() && status.error_code() == grpc::StatusCode::CANCELLED) {
    return interrupted_.Check();
  }
  const bool connected = channel_->GetState(false) == GRPC_CHANNEL_READY;
  const absl::Status converted = FromGrpcStatus(status);
  if (!connected && (absl::IsUnavailable(converted) || absl::IsDeadlineExceeded(converted))) {
    return ServerUnreachable(options_.address, status.error_message());
  }
  return converted;
}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Unary(Stub& stub,
                                       grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                                       const Request& request, When when) {
  if (when == When::kAlways) {
    Response response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCleanUpTimeout);
    context.set_wait_for_ready(true);
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (status.ok()) return response;
    return ToStatus(status);
  }
  Retrier retrier(options_.calls, interrupted_);
  while (true) {
    PORTOLAN_RETURN_IF_ERROR(interrupted_.Check());
    Response response;
    Call call(*this);
    call.context()->set_deadline(std::chrono::system_clock::now() + options_.call_timeout);
    call.context()->set_wait_for_ready(true);
    const grpc::Status status = (stub.*method)(call.context(), request, &response);
    if (status.ok()) return response;
    if (!UnaryMayRetry(status) || !retrier.WaitBeforeRetry(status)) return ToStatus(status);
  }
}

absl::StatusOr<v1::ListAtlasesResponse> Client::ListAtlases() {
  return Unary(*atlases_, &v1::AtlasService::Stub::ListAtlases, v1::ListAtlasesRequest());
}

absl::StatusOr<v1::Atlas> Client::GetAtlas(std::string_view atlas) {
  v1::GetAtlasRequest request;
  request.set_name(AtlasName(atlas));
  return Unary(*atlases_, &v1::AtlasService::Stub::GetAtlas, request);
}

absl::StatusOr<v1::ListVersionsResponse> Client::ListVersions(std::string_view atlas) {
  v1::ListVersionsRequest request;
  request.set_parent(AtlasName(atlas));
  return Unary(*atlases_, &v1::AtlasService::Stub::ListVersions, request);
}

absl::StatusOr<v1::Version> Client::GetVersion(std::string_view atlas, std::string_view version) {
  v1::GetVersionRequest request;
  request.set_name(VersionName(atlas, version));
  return Unary(*atlases_, &v1::AtlasService::Stub::GetVersion, request);
}

absl::StatusOr<v1::Version> Client::ComposeVersions(std::string_view atlas,
                                                    const std::vector<std::string>& versions) {
  v1::ComposeVersionsRequest request;
  request.set_parent(AtlasName(atlas));
  request.mutable_versions()->Add(versions.begin(), versions.end());
  return Unary(*atlases_, &v1::AtlasService::Stub::ComposeVersions, request);
}

absl::StatusOr<v1::Upload> Client::CreateUpload(const v1::CreateUploadRequest& request) {
  return Unary(*uploads_, &v1::UploadService::Stub::CreateUpload, request);
}

absl::StatusOr<v1::Upload> Client::GetUpload(const std::string& name) {
  v1::GetUploadRequest request;
  request.set_name(name);
  return Unary(*uploads_, &v1::UploadService::Stub::GetUpload, request);
}

absl::StatusOr<v1::Upload> Client::CompleteUpload(const std::string& name) {
  v1::CompleteUploadRequest request;
  request.set_name(name);
  return Unary(*uploads_, &v1::UploadService::Stub::CompleteUpload, request);
}

absl::Status Client::DeleteUpload(const std::string& name) {
  v1::DeleteUploadRequest request;
  request.set_name(name);
  return Unary(*uploads_, &v1::UploadService::Stub::DeleteUpload, request, When::kAlways).status();
}

absl::StatusOr<v1::Mapping> Client::CreateMapping(const v1::CreateMappingRequest& request) {
  return Unary(*mappings_, &v1::MappingService::Stub::CreateMapping, request);
}

absl::StatusOr<v1::Mapping> Client::GetMapping(const std::string& name) {
  v1::GetMappingRequest request;
  request.set_name(name);
  return Unary(*mappings_, &v1::MappingService::Stub::GetMapping, request);
}

absl::StatusOr<v1::Mapping> Client::CancelMapping(const std::string& name) {
  v1::CancelMappingRequest request;
  request.set_name(name);
  return Unary(*mappings_, &v1::MappingService::Stub::CancelMapping, request, When::kAlways);
}

}  // namespace portolan::client
