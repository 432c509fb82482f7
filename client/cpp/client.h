#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/cpp/retry.h"
#include "core/base/cancellation.h"
#include "portolan/v1/atlas.grpc.pb.h"
#include "portolan/v1/embedding.grpc.pb.h"
#include "portolan/v1/mapping.grpc.pb.h"
#include "portolan/v1/upload.grpc.pb.h"

namespace portolan::client {

inline constexpr char kDefaultServer[] = "127.0.0.1:7443";

struct ClientOptions {
  std::string address = kDefaultServer;
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds call_timeout{60000};  ///< of one attempt of a unary call
  RetryPolicy calls;                              ///< unary calls
  RetryPolicy streams = {.max_attempts = 20};     ///< longer than a server's restart takes
};

/// "atlases/A" and "atlases/A/versions/V". A name that is already in that form is kept.
std::string AtlasName(std::string_view atlas);
std::string VersionName(std::string_view atlas, std::string_view version);

/// The last segment of a resource name.
std::string ShortName(std::string_view name);

/// A server, as typed calls over one plain-text channel. Unary calls wait for the server, have a
/// deadline, are repeated as `calls` says, and return the server's field violations (error.h).
/// Thread-safe. Must outlive its calls and everything built on it.
class Client {
 public:
  /// Waits for the connection; kUnavailable that names the address if there is none in time.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ClientOptions options);

  absl::StatusOr<v1::ListAtlasesResponse> ListAtlases();
  absl::StatusOr<v1::Atlas> GetAtlas(std::string_view atlas);
  absl::StatusOr<v1::ListVersionsResponse> ListVersions(std::string_view atlas);
  absl::StatusOr<v1::Version> GetVersion(std::string_view atlas, std::string_view version);
  absl::StatusOr<v1::Version> ComposeVersions(std::string_view atlas,
                                              const std::vector<std::string>& versions);

  absl::StatusOr<v1::Upload> CreateUpload(const v1::CreateUploadRequest& request);
  absl::StatusOr<v1::Upload> GetUpload(const std::string& name);
  absl::StatusOr<v1::Upload> CompleteUpload(const std::string& name);
  /// Cleans up: one short attempt, also on an interrupted client.
  absl::Status DeleteUpload(const std::string& name);

  absl::StatusOr<v1::Mapping> CreateMapping(const v1::CreateMappingRequest& request);
  absl::StatusOr<v1::Mapping> GetMapping(const std::string& name);
  /// Cleans up: one short attempt, also on an interrupted client.
  absl::StatusOr<v1::Mapping> CancelMapping(const std::string& name);

  /// Ends every call under way with CANCELLED and refuses new ones. May be called from any thread,
  /// but not from a signal handler.
  void Interrupt();
  const CancelToken& interrupted() const { return interrupted_; }

  const ClientOptions& options() const { return options_; }

  /// The context of one streaming call; ends with Interrupt().
  class Call {
   public:
    explicit Call(Client& client);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext* context() { return &context_; }

   private:
    Client& client_;
    grpc::ClientContext context_;
  };

  v1::AtlasService::Stub& atlases() { return *atlases_; }
  v1::UploadService::Stub& uploads() { return *uploads_; }
  v1::MappingService::Stub& mappings() { return *mappings_; }
  v1::EmbeddingService::Stub& embeddings() { return *embeddings_; }

 private:
  enum class When { kUnlessInterrupted, kAlways };

  Client(ClientOptions options, std::shared_ptr<grpc::Channel> channel);

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Unary(Stub& stub,
                                 grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
                                 const Request& request, When when = When::kUnlessInterrupted);
  absl::Status ToStatus(const grpc::Status& status);

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::AtlasService::Stub> atlases_;
  const std::unique_ptr<v1::UploadService::Stub> uploads_;
  const std::unique_ptr<v1::MappingService::Stub> mappings_;
  const std::unique_ptr<v1::EmbeddingService::Stub> embeddings_;
  const CancelToken interrupted_;
  std::mutex mutex_;
  std::set<grpc::ClientContext*> calls_;  // guarded by mutex_
};

}  // namespace portolan::client
