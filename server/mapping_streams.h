#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "core/jobs/job_store.h"
#include "core/mapping/mapping.h"
#include "portolan/v1/mapping.pb.h"
#include "server/status.h"
#include "server/watch_hub.h"

namespace portolan::server {

/// The server streams of MappingService. The reactors own themselves until gRPC is done with them.

/// The mapping now, then its newest state after every change, until it is final. A slow reader gets
/// fewer states, never older ones. kUnavailable when the hub closes.
grpc::ServerWriteReactor<v1::Mapping>* WatchJob(const JobStore& jobs, WatchHub& hub,
                                                const std::string& job_id);

/// The rows in blocks of about 1 MiB, in order.
grpc::ServerWriteReactor<v1::EmbeddingBlock>* StreamRows(
    std::shared_ptr<const MappingResult> result);

/// A stream that ends at once.
template <typename Message>
grpc::ServerWriteReactor<Message>* FailStream(const absl::Status& status) {
  class Failed final : public grpc::ServerWriteReactor<Message> {
   public:
    explicit Failed(const absl::Status& error) { this->Finish(ToGrpcStatus(error)); }
    void OnDone() override { delete this; }
  };
  return new Failed(status);
}

}  // namespace portolan::server
