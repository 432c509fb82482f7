#pragma once

#include "core/atlas/atlas.h"
#include "portolan/v1/atlas.grpc.pb.h"

namespace portolan::server {

/// Atlases and their versions. Thread-safe.
class AtlasService final : public v1::AtlasService::CallbackService {
 public:
  /// `catalog` outlives the service.
  explicit AtlasService(const AtlasCatalog& catalog) : catalog_(catalog) {}

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

 private:
  const AtlasCatalog& catalog_;
};

}  // namespace portolan::server
