#pragma once

#include <atomic>

#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "portolan/v1/upload.grpc.pb.h"
#include "server/metrics.h"
#include "server/uploads.h"

namespace portolan::server {

/// Query cells on their way in. Thread-safe. A stream reads its next part only when the last one is
/// stored: that is the back-pressure.
class UploadService final : public v1::UploadService::CallbackService {
 public:
  /// All outlive the service. While `draining`, no new uploads; open ones go on.
  UploadService(const AtlasCatalog& catalog, UploadStore& uploads, Executor& executor,
                Metrics& metrics, const std::atomic<bool>& draining)
      : catalog_(catalog),
        uploads_(uploads),
        executor_(executor),
        metrics_(metrics),
        draining_(draining) {}

  grpc::ServerUnaryReactor* CreateUpload(grpc::CallbackServerContext* context,
                                         const v1::CreateUploadRequest* request,
                                         v1::Upload* response) override;
  grpc::ServerUnaryReactor* GetUpload(grpc::CallbackServerContext* context,
                                      const v1::GetUploadRequest* request,
                                      v1::Upload* response) override;
  grpc::ServerReadReactor<v1::WritePartRequest>* WriteParts(grpc::CallbackServerContext* context,
                                                            v1::Upload* response) override;
  grpc::ServerUnaryReactor* CompleteUpload(grpc::CallbackServerContext* context,
                                           const v1::CompleteUploadRequest* request,
                                           v1::Upload* response) override;
  grpc::ServerUnaryReactor* DeleteUpload(grpc::CallbackServerContext* context,
                                         const v1::DeleteUploadRequest* request,
                                         v1::DeleteUploadResponse* response) override;

 private:
  const AtlasCatalog& catalog_;
  UploadStore& uploads_;
  Executor& executor_;
  Metrics& metrics_;
  const std::atomic<bool>& draining_;
};

}  // namespace portolan::server
