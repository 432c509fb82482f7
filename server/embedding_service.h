#pragma once

#include <atomic>

#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "portolan/v1/embedding.grpc.pb.h"

namespace portolan::server {

/// Embedding without training. Thread-safe. Blocks of one stream are computed one after the other;
/// the next is read when the last one's rows have gone out.
class EmbeddingService final : public v1::EmbeddingService::CallbackService {
 public:
  /// All outlive the service.
  EmbeddingService(const AtlasCatalog& catalog, Executor& executor,
                   const std::atomic<bool>& draining)
      : catalog_(catalog), executor_(executor), draining_(draining) {}

  grpc::ServerBidiReactor<v1::EmbedRequest, v1::EmbedResponse>* Embed(
      grpc::CallbackServerContext* context) override;

 private:
  const AtlasCatalog& catalog_;
  Executor& executor_;
  const std::atomic<bool>& draining_;
};

}  // namespace portolan::server
