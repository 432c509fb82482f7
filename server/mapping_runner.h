#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/atlas/atlas.h"
#include "core/base/executor.h"
#include "core/jobs/worker_loop.h"
#include "server/metrics.h"
#include "server/results.h"
#include "server/uploads.h"

namespace portolan::server {

/// The worker loop's handler: a job's spec is a serialised CreateMappingRequest with a full version
/// id, its progress a Progress, its result a MappingReport. Thread-safe.
class MappingRunner {
 public:
  /// All outlive the runner. `executor`: the compute pool, never the thread that calls Run().
  MappingRunner(const AtlasCatalog& catalog, UploadStore& uploads, ResultStore& results,
                Executor& executor, Metrics& metrics)
      : catalog_(catalog),
        uploads_(uploads),
        results_(results),
        executor_(executor),
        metrics_(metrics) {}

  absl::StatusOr<std::string> Run(const JobContext& context) const;

 private:
  absl::StatusOr<std::string> RunLogged(const JobContext& context) const;

  const AtlasCatalog& catalog_;
  UploadStore& uploads_;
  ResultStore& results_;
  Executor& executor_;
  Metrics& metrics_;
};

}  // namespace portolan::server
