#include "server/mapping_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/catalog.h"
#include "server/converters.h"
#include "server/expression_stream.h"
#include "server/mapping_streams.h"
#include "server/resource_names.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {
namespace {

/// The request as a job's spec: with the version's full id, so that "latest" means the same however
/// long the job waits.
v1::CreateMappingRequest Resolved(const v1::CreateMappingRequest& request,
                                  const ResolvedVersion& version) {
  v1::CreateMappingRequest resolved = request;
  resolved.set_version(VersionNameOf(version.atlas->name(), version.version->id));
  return resolved;
}

/// The job that an earlier call with the same request id created; nothing if there was none,
/// kAlreadyExists if it asked for something else.
absl::StatusOr<std::optional<JobRecord>> FindEarlier(const JobStore& jobs,
                                                     const v1::CreateMappingRequest& request,
                                                     const ResolvedVersion& version) {
  if (request.request_id().empty()) return std::optional<JobRecord>();
  std::optional<JobRecord> job = jobs.FindByRequestId(request.request_id());
  if (!job.has_value()) return job;
  v1::CreateMappingRequest asked = Resolved(request, version);
  v1::CreateMappingRequest earlier;
  if (!earlier.ParseFromString(job->spec)) return absl::InternalError("damaged job record");
  const absl::StatusOr<VersionName> named = ParseVersionName("version", request.version());
  const absl::StatusOr<VersionName> used = ParseVersionName("version", earlier.version());
  // "latest" may have moved on between the two calls.
  if (named.ok() && used.ok() && named->version == "latest" && named->atlas == used->atlas) {
    asked.set_version(earlier.version());
  }
  if (asked.SerializeAsString() == earlier.SerializeAsString()) return job;
  return FieldError(absl::StatusCode::kAlreadyExists, "request_id",
                    absl::StrCat("\"", request.request_id(), "\" created ", MappingName(job->id),
                                 " from another request"),
                    "Use a new request id for a new request.");
}

}  // namespace

absl::StatusOr<JobRecord> MappingService::Create(const v1::CreateMappingRequest& request) {
  if (parts_.draining) return DrainingError();
  PORTOLAN_ASSIGN_OR_RETURN(const ResolvedVersion version,
                            FindVersion(parts_.catalog, "version", request.version()));
  PORTOLAN_ASSIGN_OR_RETURN(const std::string upload, ParseUploadName("upload", request.upload()));
  PORTOLAN_RETURN_IF_ERROR(FromProto(request.options()).status());
  PORTOLAN_ASSIGN_OR_RETURN(const std::optional<JobRecord> earlier,
                            FindEarlier(parts_.jobs, request, version));
  if (earlier.has_value()) return *earlier;

  PORTOLAN_ASSIGN_OR_RETURN(const auto uploaded, parts_.uploads.Find(upload));
  if (uploaded->atlas != version.atlas->name()) {
    return InvalidField(
        "upload", absl::StrCat("its columns are the genes of ", AtlasName(uploaded->atlas)),
        absl::StrCat("Upload the query for ", AtlasName(version.atlas->name()), "."));
  }
  PORTOLAN_RETURN_IF_ERROR(
      ValidateQuery(uploaded->query, version.version->model->description().architecture.n_genes));
  return parts_.jobs.Create(request.request_id(), Resolved(request, version).SerializeAsString());
}

absl::StatusOr<JobRecord> MappingService::FindJob(const std::string& name) const {
  PORTOLAN_ASSIGN_OR_RETURN(const std::string id, ParseMappingName("name", name));
  absl::StatusOr<JobRecord> job = parts_.jobs.Get(id);
  if (absl::IsNotFound(job.status())) {
    return FieldError(absl::StatusCode::kNotFound, "name", absl::StrCat("no mapping \"", id, "\""),
                      "List the mappings to see those that are kept.");
  }
  return job;
}

absl::StatusOr<std::shared_ptr<const MappingResult>> MappingService::FindResult(
    const std::string& name) const {
  PORTOLAN_ASSIGN_OR_RETURN(const JobRecord job, FindJob(name));
  if (job.state != JobState::kSucceeded) {
    return FieldError(
        absl::StatusCode::kFailedPrecondition, "name",
        absl::StrCat("mapping ", job.id, " is ", std::string(JobStateName(job.state))),
        "Only a mapping that succeeded has rows.");
  }
  return parts_.results.Find(job.id);
}

grpc::ServerUnaryReactor* MappingService::CreateMapping(grpc::CallbackServerContext* context,
                                                        const v1::CreateMappingRequest* request,
                                                        v1::Mapping* response) {
  // Validation looks at every count.
  return FinishLater(context, parts_.executor, [this, request, response]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const JobRecord job, Create(*request));
    PORTOLAN_ASSIGN_OR_RETURN(*response, MappingFromJob(job, /*with_report=*/true));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* MappingService::GetMapping(grpc::CallbackServerContext* context,
                                                     const v1::GetMappingRequest* request,
                                                     v1::Mapping* response) {
  return FinishNow(context, [&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const JobRecord job, FindJob(request->name()));
    PORTOLAN_ASSIGN_OR_RETURN(*response, MappingFromJob(job, /*with_report=*/true));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* MappingService::ListMappings(grpc::CallbackServerContext* context,
                                                       const v1::ListMappingsRequest* /*request*/,
                                                       v1::ListMappingsResponse* response) {
  return FinishNow(context, [&]() -> absl::Status {
    for (const JobRecord& job : parts_.jobs.List()) {
      PORTOLAN_ASSIGN_OR_RETURN(*response->add_mappings(),
                                MappingFromJob(job, /*with_report=*/false));
    }
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::Mapping>* MappingService::WatchMapping(
    grpc::CallbackServerContext* /*context*/, const v1::GetMappingRequest* request) {
  const absl::StatusOr<JobRecord> job = FindJob(request->name());
  if (!job.ok()) return FailStream<v1::Mapping>(job.status());
  return WatchJob(parts_.jobs, parts_.hub, job->id);
}

grpc::ServerUnaryReactor* MappingService::CancelMapping(grpc::CallbackServerContext* context,
                                                        const v1::CancelMappingRequest* request,
                                                        v1::Mapping* response) {
  return FinishNow(context, [&]() -> absl::Status {
    PORTOLAN_ASSIGN_OR_RETURN(const JobRecord found, FindJob(request->name()));
    PORTOLAN_ASSIGN_OR_RETURN(const JobRecord job, parts_.jobs.RequestCancel(found.id));
    PORTOLAN_ASSIGN_OR_RETURN(*response, MappingFromJob(job, /*with_report=*/true));
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::EmbeddingBlock>* MappingService::ReadEmbedding(
    grpc::CallbackServerContext* /*context*/, const v1::ReadEmbeddingRequest* request) {
  auto result = FindResult(request->name());
  if (!result.ok()) return FailStream<v1::EmbeddingBlock>(result.status());
  return StreamRows(*std::move(result));
}

grpc::ServerWriteReactor<v1::ExpressionBlock>* MappingService::ReadExpression(
    grpc::CallbackServerContext* /*context*/, const v1::ReadExpressionRequest* request) {
  const auto task = [&]() -> absl::StatusOr<ExpressionTask> {
    if (parts_.draining) return DrainingError();
    PORTOLAN_ASSIGN_OR_RETURN(const auto result, FindResult(request->name()));
    PORTOLAN_ASSIGN_OR_RETURN(const JobRecord job, FindJob(request->name()));
    v1::CreateMappingRequest created;
    if (!created.ParseFromString(job.spec)) return absl::InternalError("damaged job record");
    PORTOLAN_ASSIGN_OR_RETURN(const std::string upload,
                              ParseUploadName("upload", created.upload()));
    ExpressionTask made{.version = result->version, .seed = created.options().seed()};
    PORTOLAN_ASSIGN_OR_RETURN(made.query, parts_.uploads.Find(upload));
    PORTOLAN_ASSIGN_OR_RETURN(made.options, ExpressionOptionsOf(*request, *result->version->model));
    PORTOLAN_RETURN_IF_ERROR(CheckExpressionOptions(*result->version->model, made.options));
    return made;
  }();
  if (!task.ok()) return FailStream<v1::ExpressionBlock>(task.status());
  return StreamExpression(*task, parts_.executor);
}

bool IsNeededByJob(const JobStore& jobs, const std::string& upload_id) {
  const std::string name = UploadName(upload_id);
  for (const JobRecord& job : jobs.List()) {
    if (IsFinal(job.state)) continue;
    v1::CreateMappingRequest request;
    if (request.ParseFromString(job.spec) && request.upload() == name) return true;
  }
  return false;
}

}  // namespace portolan::server
