#include "server/upload_service.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/catalog.h"
#include "server/converters.h"
#include "server/count_block.h"
#include "server/resource_names.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {
namespace {

/// One WriteParts call. At most one operation is under way at any time, so it needs no lock. Owns
/// itself until OnDone().
class WritePartsReactor final : public grpc::ServerReadReactor<v1::WritePartRequest> {
 public:
  WritePartsReactor(UploadStore& uploads, Executor& executor, Metrics& metrics,
                    v1::Upload* response)
      : uploads_(uploads), executor_(executor), metrics_(metrics), response_(response) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    // Decoding takes milliseconds: not in a reaction.
    executor_.Run([this, ok] {
      const absl::Status status = Fenced([&] { return ok ? StorePart() : Answer(); });
      if (ok && status.ok()) {
        StartRead(&request_);
      } else {
        Finish(ToGrpcStatus(status));
      }
    });
  }

  void OnDone() override { delete this; }

 private:
  absl::Status StorePart() {
    PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseUploadName("upload", request_.upload()));
    if (!upload_.empty() && id != upload_) {
      return InvalidField("upload", absl::StrCat("\"", id, "\" after \"", upload_, "\""),
                          "Send the parts of one upload in one stream.");
    }
    upload_ = id;
    const int64_t part = request_.part();
    PORTOLAN_ASSIGN_OR_RETURN(const std::optional<CountBlockBounds> bounds,
                              uploads_.Expect(id, part));
    if (!bounds.has_value()) return absl::OkStatus();  // already there
    PORTOLAN_ASSIGN_OR_RETURN(DecodedBlock block, DecodeCountBlock(request_.block(), *bounds,
                                                                   absl::StrCat("part ", part)));
    PORTOLAN_RETURN_IF_ERROR(uploads_.Append(id, part, std::move(block)));
    metrics_.UploadedBytes(static_cast<int64_t>(request_.ByteSizeLong()));
    return absl::OkStatus();
  }

  absl::Status Answer() {
    if (upload_.empty()) {
      return InvalidField("upload", "a stream without parts", "Send at least one part.");
    }
    PORTOLAN_ASSIGN_OR_RETURN(const UploadState state, uploads_.Get(upload_));
    *response_ = ToProto(state);
    return absl::OkStatus();
  }

  UploadStore& uploads_;
  Executor& executor_;
  Metrics& metrics_;
  v1::Upload* const response_;
  v1::WritePartRequest request_;
  std::string upload_;  ///< id
};

}  // namespace

grpc::ServerUnaryReactor* UploadService::CreateUpload(grpc::CallbackServerContext* context,
                                                      const v1::CreateUploadRequest* request,
                                                      v1::Upload* response) {
  return FinishNow(context, [&]() -> absl::Status {
    if (draining_) return DrainingError();
    PORTOLAN_ASSIGN_OR_RETURN(const ResolvedVersion found,
                              FindVersion(catalog_, "version", request->version()));
    UploadSpec spec;
    spec.atlas = found.atlas->name();
    spec.version_id = found.version->id;
    spec.bounds = BoundsOf(found.version->model->description());
    spec.cells = request->cells();
    spec.batches.assign(request->batches().begin(), request->batches().end());
    spec.gene_report = FromProto(request->genes());
    if (request->has_proteins()) spec.protein_report = FromProto(request->proteins());
    PORTOLAN_ASSIGN_OR_RETURN(const UploadState state, uploads_.Create(std::move(spec)));
    *response = ToProto(state);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* UploadService::GetUpload(grpc::CallbackServerContext* context,
                                                   const v1::GetUploadRequest* request,
                                                   v1::Upload* response) {
  // An upload is locked while it is completed, which may take a second.
  return FinishLater(context, executor_, [this, request, response]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseUploadName("name", request->name()));
    PORTOLAN_ASSIGN_OR_RETURN(const UploadState state, uploads_.Get(id));
    *response = ToProto(state);
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<v1::WritePartRequest>* UploadService::WriteParts(
    grpc::CallbackServerContext* /*context*/, v1::Upload* response) {
  return new WritePartsReactor(uploads_, executor_, metrics_, response);
}

grpc::ServerUnaryReactor* UploadService::CompleteUpload(grpc::CallbackServerContext* context,
                                                        const v1::CompleteUploadRequest* request,
                                                        v1::Upload* response) {
  return FinishLater(context, executor_, [this, request, response]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseUploadName("name", request->name()));
    PORTOLAN_ASSIGN_OR_RETURN(const UploadState state, uploads_.Complete(id));
    *response = ToProto(state);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* UploadService::DeleteUpload(grpc::CallbackServerContext* context,
                                                      const v1::DeleteUploadRequest* request,
                                                      v1::DeleteUploadResponse* /*response*/) {
  return FinishLater(context, executor_, [this, request]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseUploadName("name", request->name()));
    return uploads_.Delete(id);
  });
}

}  // namespace portolan::server
