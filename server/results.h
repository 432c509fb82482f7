#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/mapping/mapping.h"

namespace portolan::server {

struct ResultLimits {
  int64_t max_results = 100;
  int64_t max_bytes = int64_t{4} << 30;
};

/// The rows of finished mappings, in memory. Bounded: the oldest results go first, the newest
/// always stays. Thread-safe; a result that a reader holds lives on until the reader lets go.
class ResultStore {
 public:
  explicit ResultStore(const ResultLimits& limits) : limits_(limits) {}

  void Put(const std::string& mapping_id, std::shared_ptr<const MappingResult> result);

  /// kNotFound that says that the result expired (or was made by an earlier run of the server).
  absl::StatusOr<std::shared_ptr<const MappingResult>> Find(const std::string& mapping_id) const;

 private:
  const ResultLimits limits_;

  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const MappingResult>> results_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> oldest_first_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace portolan::server
