#include "server/atlas_service.h"

#include "core/atlas/compose.h"
#include "core/base/status_macros.h"
#include "server/catalog.h"
#include "server/converters.h"
#include "server/export_stream.h"
#include "server/mapping_streams.h"
#include "server/resource_names.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {

grpc::ServerUnaryReactor* AtlasService::ListAtlases(grpc::CallbackServerContext* context,
                                                    const v1::ListAtlasesRequest* /*request*/,
                                                    v1::ListAtlasesResponse* response) {
  return FinishNow(context, [&] {
    for (const auto& [name, atlas] : catalog_.atlases) *response->add_atlases() = ToProto(*atlas);
    for (const auto& [name, reason] : catalog_.refused) {
      v1::RefusedAtlas* refused = response->add_refused();
      refused->set_name(ClipUtf8(name, 200));
      refused->set_reason(ToProto(reason).message());
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AtlasService::GetAtlas(grpc::CallbackServerContext* context,
                                                 const v1::GetAtlasRequest* request,
                                                 v1::Atlas* response) {
  return FinishNow(context, [&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const Atlas* atlas, FindAtlas(catalog_, "name", request->name()));
    *response = ToProto(*atlas);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AtlasService::ListVersions(grpc::CallbackServerContext* context,
                                                     const v1::ListVersionsRequest* request,
                                                     v1::ListVersionsResponse* response) {
  return FinishNow(context, [&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const Atlas* atlas, FindAtlas(catalog_, "parent", request->parent()));
    for (const auto& version : atlas->Versions()) {
      *response->add_versions() = ToProto(*atlas, *version, /*with_genes=*/false);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AtlasService::GetVersion(grpc::CallbackServerContext* context,
                                                   const v1::GetVersionRequest* request,
                                                   v1::Version* response) {
  return FinishNow(context, [&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const ResolvedVersion found,
                              FindVersion(catalog_, "name", request->name()));
    *response = ToProto(*found.atlas, *found.version, /*with_genes=*/true);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::ExportVersionResponse>* AtlasService::ExportVersion(
    grpc::CallbackServerContext* /*context*/, const v1::ExportVersionRequest* request) {
  absl::StatusOr<ResolvedVersion> found = FindVersion(catalog_, "name", request->name());
  if (!found.ok()) return FailStream<v1::ExportVersionResponse>(found.status());
  return StreamExport(*std::move(found), executor_);
}

grpc::ServerUnaryReactor* AtlasService::ComposeVersions(grpc::CallbackServerContext* context,
                                                        const v1::ComposeVersionsRequest* request,
                                                        v1::Version* response) {
  return FinishLater(context, executor_, [this, request, response]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(Atlas * atlas, FindAtlas(catalog_, "parent", request->parent()));
    PORTOLAN_ASSIGN_OR_RETURN(
        const auto version, portolan::ComposeVersions(
                                *atlas, {request->versions().begin(), request->versions().end()}));
    *response = ToProto(*atlas, *version, /*with_genes=*/false);
    return absl::OkStatus();
  });
}

}  // namespace portolan::server
