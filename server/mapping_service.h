#pragma once

#include <atomic>
#include <string>

#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "core/jobs/job_store.h"
#include "portolan/v1/mapping.grpc.pb.h"
#include "server/results.h"
#include "server/uploads.h"
#include "server/watch_hub.h"

namespace portolan::server {

/// Mappings as jobs. Thread-safe.
class MappingService final : public v1::MappingService::CallbackService {
 public:
  /// What the service works with; all outlive it.
  struct Parts {
    const AtlasCatalog& catalog;
    UploadStore& uploads;
    JobStore& jobs;
    ResultStore& results;
    WatchHub& hub;
    Executor& executor;  ///< for what is too long for a reaction
    const std::atomic<bool>& draining;
  };

  explicit MappingService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* CreateMapping(grpc::CallbackServerContext* context,
                                          const v1::CreateMappingRequest* request,
                                          v1::Mapping* response) override;
  grpc::ServerUnaryReactor* GetMapping(grpc::CallbackServerContext* context,
                                       const v1::GetMappingRequest* request,
                                       v1::Mapping* response) override;
  grpc::ServerUnaryReactor* ListMappings(grpc::CallbackServerContext* context,
                                         const v1::ListMappingsRequest* request,
                                         v1::ListMappingsResponse* response) override;
  grpc::ServerWriteReactor<v1::Mapping>* WatchMapping(
      grpc::CallbackServerContext* context, const v1::GetMappingRequest* request) override;
  grpc::ServerUnaryReactor* CancelMapping(grpc::CallbackServerContext* context,
                                          const v1::CancelMappingRequest* request,
                                          v1::Mapping* response) override;
  grpc::ServerWriteReactor<v1::ExpressionBlock>* ReadExpression(
      grpc::CallbackServerContext* context, const v1::ReadExpressionRequest* request) override;
  grpc::ServerWriteReactor<v1::EmbeddingBlock>* ReadEmbedding(
      grpc::CallbackServerContext* context, const v1::ReadEmbeddingRequest* request) override;

 private:
  absl::StatusOr<JobRecord> Create(const v1::CreateMappingRequest& request);
  /// The job that "mappings/{m}" names.
  absl::StatusOr<JobRecord> FindJob(const std::string& name) const;
  absl::StatusOr<std::shared_ptr<const MappingResult>> FindResult(const std::string& name) const;

  const Parts parts_;
};

/// Whether an upload is named by a job that waits or runs.
bool IsNeededByJob(const JobStore& jobs, const std::string& upload_id);

}  // namespace portolan::server
