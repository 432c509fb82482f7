#pragma once

#include <grpcpp/support/server_callback.h>

#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "portolan/v1/atlas.pb.h"
#include "server/catalog.h"

namespace portolan::server {

/// A version as a model.pt: written on `executor`, then sent as a header and chunks of 1 MiB. The
/// reactor owns itself until gRPC is done with it.
grpc::ServerWriteReactor<v1::ExportVersionResponse>* StreamExport(ResolvedVersion version,
                                                                  Executor& executor);

}  // namespace portolan::server
