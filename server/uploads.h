#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/jobs/random_id.h"
#include "core/mapping/mapping.h"
#include "server/count_block.h"

namespace portolan::server {

struct UploadLimits {
  int64_t max_cells = 10'000'000;             ///< of one upload
  int64_t max_bytes = int64_t{16} << 30;      ///< of one upload, in memory
  int64_t max_all_bytes = int64_t{32} << 30;  ///< of all uploads together
  int max_open = 64;                          ///< uploads that are kept at the same time
  absl::Duration idle = absl::Minutes(30);    ///< untouched for so long: removed
};

/// What a client announces.
struct UploadSpec {
  std::string atlas;
  std::string version_id;
  CountBlockBounds bounds;  ///< of the version's model (BoundsOf)
  int64_t cells = 0;
  std::vector<std::string> batches;
  GeneReport gene_report;
  std::optional<ProteinReport> protein_report;  ///< set if the cells bring proteins
};

struct UploadState {
  std::string id;
  std::string atlas;
  std::string version_id;
  int64_t cells = 0;
  int64_t cells_received = 0;
  int64_t next_part = 0;
  bool complete = false;
};

/// A complete upload's content; outlives the upload where somebody still holds it.
struct UploadedQuery {
  std::string atlas;
  Query query;
};

/// Uploads in memory, from the first part to the mapping. Thread-safe. Every error names a field of
/// the request; an unknown, deleted or expired upload is kNotFound. Idle uploads are removed on any
/// call, and by RemoveIdle().
class UploadStore {
 public:
  struct Options {
    UploadLimits limits;
    std::function<absl::Time()> now = [] { return absl::Now(); };
    /// Whether a mapping still needs the upload: then it neither expires nor can be deleted.
    std::function<bool(const std::string& id)> in_use = [](const std::string&) { return false; };
    std::function<std::string()> new_id = RandomId;
  };

  explicit UploadStore(Options options);

  /// kResourceExhausted beyond the limits.
  absl::StatusOr<UploadState> Create(UploadSpec spec);
  absl::StatusOr<UploadState> Get(const std::string& id);

  /// What part `part` must keep to; nothing if it is already there and to be skipped.
  /// kFailedPrecondition if it is not the next one.
  absl::StatusOr<std::optional<CountBlockBounds>> Expect(const std::string& id, int64_t part);

  /// Adds a part, decoded within the bounds of Expect(); skips one that is already there.
  absl::Status Append(const std::string& id, int64_t part, DecodedBlock block);

  /// Checks that all cells have come and that their names are unique; idempotent.
  absl::StatusOr<UploadState> Complete(const std::string& id);

  absl::Status Delete(const std::string& id);

  /// The content of a complete upload; kFailedPrecondition before.
  absl::StatusOr<std::shared_ptr<const UploadedQuery>> Find(const std::string& id);

  void RemoveIdle();

 private:
  struct Upload {
    Upload(std::string upload_id, UploadSpec upload_spec, std::unique_ptr<UploadedQuery> empty)
        : id(std::move(upload_id)), spec(std::move(upload_spec)), growing(std::move(empty)) {}

    const std::string id;
    const UploadSpec spec;

    // Guarded by UploadStore::mutex_.
    absl::Time last_use;
    int64_t bytes = 0;

    absl::Mutex mutex;  ///< taken before UploadStore::mutex_
    std::unique_ptr<UploadedQuery> growing ABSL_GUARDED_BY(mutex);  ///< until it is `content`
    int64_t cells_received ABSL_GUARDED_BY(mutex) = 0;
    int64_t next_part ABSL_GUARDED_BY(mutex) = 0;
    std::shared_ptr<const UploadedQuery> content ABSL_GUARDED_BY(mutex);
  };

  /// Finds and touches.
  absl::StatusOr<std::shared_ptr<Upload>> Use(const std::string& id);
  absl::Status Reserve(Upload& upload, int64_t bytes);
  UploadState StateOf(const Upload& upload) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mutex);
  void Remove(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;

  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Upload>> uploads_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace portolan::server
