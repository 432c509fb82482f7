#include "server/mapping_runner.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/mapping/mapping.h"
#include "server/catalog.h"
#include "server/converters.h"
#include "server/log.h"
#include "server/resource_names.h"

namespace portolan::server {
namespace {

/// Passes progress on, but not more often than anybody could read it.
class ProgressSender {
 public:
  explicit ProgressSender(const JobContext& context) : context_(context) {}

  void Send(const MappingProgress& progress) {
    int64_t done = 0;
    for (const BatchProgress& batch : progress.batches) done += batch.done ? 1 : 0;
    const absl::Time now = absl::Now();
    const bool news = progress.stage != stage_ || done != done_;
    if (!news && now < last_ + absl::Milliseconds(100)) return;
    stage_ = progress.stage;
    done_ = done;
    last_ = now;
    context_.report_progress(ToProto(progress).SerializeAsString());
  }

 private:
  const JobContext& context_;
  std::string stage_;
  int64_t done_ = 0;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace

absl::StatusOr<std::string> MappingRunner::Run(const JobContext& context) const {
  const std::string name = MappingName(context.job.id);
  Log(LogLevel::kInfo, "mapping started",
      {{"mapping", name}, {"attempt", absl::StrCat(context.job.attempt)}});
  const absl::Time start = absl::Now();
  absl::StatusOr<std::string> report = RunLogged(context);
  const std::string seconds = absl::StrFormat("%.3f", absl::ToDoubleSeconds(absl::Now() - start));
  if (report.ok()) {
    Log(LogLevel::kInfo, "mapping succeeded", {{"mapping", name}, {"seconds", seconds}});
  } else if (absl::IsCancelled(report.status())) {
    Log(LogLevel::kInfo, "mapping stopped", {{"mapping", name}, {"seconds", seconds}});
  } else {
    Log(LogLevel::kWarning, "mapping failed",
        {{"mapping", name}, {"seconds", seconds}, {"error", LogText(report.status())}});
  }
  return report;
}

absl::StatusOr<std::string> MappingRunner::RunLogged(const JobContext& context) const {
  v1::CreateMappingRequest request;
  if (!request.ParseFromString(context.job.spec)) {
    return absl::InternalError(absl::StrCat("the spec of job ", context.job.id, " is damaged"));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const ResolvedVersion parent,
                            FindVersion(catalog_, "version", request.version()));
  PORTOLAN_ASSIGN_OR_RETURN(const std::string upload, ParseUploadName("upload", request.upload()));
  PORTOLAN_ASSIGN_OR_RETURN(const auto uploaded, uploads_.Find(upload));
  PORTOLAN_ASSIGN_OR_RETURN(const MappingOptions options, FromProto(request.options()));

  ProgressSender sender(context);
  MappingEnvironment environment;
  environment.executor = &executor_;
  environment.cancel = context.cancel;
  environment.resume_from = context.job.checkpoint;
  environment.on_progress = [&sender](const MappingProgress& progress) { sender.Send(progress); };
  environment.on_checkpoint = context.save_checkpoint;

  const absl::Time start = absl::Now();
  PORTOLAN_ASSIGN_OR_RETURN(
      MappingResult mapped,
      RunMapping(*parent.atlas, parent.version, uploaded->query, options, environment));
  const auto result = std::make_shared<const MappingResult>(std::move(mapped));
  metrics_.MappingSucceeded(absl::ToDoubleSeconds(absl::Now() - start), result->cells);
  // Before the job is seen to have succeeded.
  results_.Put(context.job.id, result);
  return ToProto(parent.atlas->name(), *result).SerializeAsString();
}

}  // namespace portolan::server
