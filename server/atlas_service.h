#pragma once

#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "portolan/v1/atlas.grpc.pb.h"

namespace portolan::server {

/// Atlases and their versions. Thread-safe.
class AtlasService final : public v1::AtlasService::CallbackService {
 public:
  /// Both outlive the service; `executor` does what takes long.
  AtlasService(const AtlasCatalog& catalog, Executor& executor)
      : catalog_(catalog), executor_(executor) {}

  grpc::ServerUnaryReactor* ListAtlases(grpc::CallbackServerContext* context,
                                        const v1::ListAtlasesRequest* request,
                                        v1::ListAtlasesResponse* response) override;
  grpc::ServerUnaryReactor* GetAtlas(grpc::CallbackServerContext* context,
                                     const v1::GetAtlasRequest* request,
                                     v1::Atlas* response) override;
  grpc::ServerUnaryReactor* ListVersions(grpc::CallbackServerContext* context,
                                         const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) override;
  grpc::ServerUnaryReactor* GetVersion(grpc::CallbackServerContext* context,
                                       const v1::GetVersionRequest* request,
                                       v1::Version* response) override;
  grpc::ServerWriteReactor<v1::ExportVersionResponse>* ExportVersion(
      grpc::CallbackServerContext* context, const v1::ExportVersionRequest* request) override;
  grpc::ServerUnaryReactor* ComposeVersions(grpc::CallbackServerContext* context,
                                            const v1::ComposeVersionsRequest* request,
                                            v1::Version* response) override;

 private:
  const AtlasCatalog& catalog_;
  Executor& executor_;
};

}  // namespace portolan::server
