#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "absl/status/status.h"
#include "core/base/executor.h"

namespace portolan::server {

/// Runs `work`; an exception (out of memory, most likely) becomes a status, so that one request
/// cannot end the process.
absl::Status Fenced(const std::function<absl::Status()>& work);

/// Finishes a unary call at once. For work that never blocks.
grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                    const std::function<absl::Status()>& work);

/// Finishes a unary call from `executor`: a reaction must not block.
grpc::ServerUnaryReactor* FinishLater(grpc::CallbackServerContext* context, Executor& executor,
                                      std::function<absl::Status()> work);

}  // namespace portolan::server
