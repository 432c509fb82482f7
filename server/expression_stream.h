#pragma once

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/base/executor.h"
#include "core/mapping/express.h"
#include "portolan/v1/mapping.pb.h"
#include "server/uploads.h"

namespace portolan::server {

/// One ReadExpression call, resolved.
struct ExpressionTask {
  std::shared_ptr<const AtlasVersion> version = nullptr;
  std::shared_ptr<const UploadedQuery> query = nullptr;
  ExpressionOptions options = {};
  uint64_t seed = 0;
};

/// Names to the model's numbers. InvalidField("genes", "proteins", "transform_batches") naming the
/// first that the model does not know.
absl::StatusOr<ExpressionOptions> ExpressionOptionsOf(const v1::ReadExpressionRequest& request,
                                                      const Model& model);

/// Computes block after block on the executor. A slow reader holds the work back, and one that has
/// gone ends it. Owns itself until gRPC is done with it.
grpc::ServerWriteReactor<v1::ExpressionBlock>* StreamExpression(ExpressionTask task,
                                                                Executor& executor);

}  // namespace portolan::server
