#include "server/mapping_streams.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "server/converters.h"

namespace portolan::server {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;

/// Whoever sets `busy_` or `finished_` under the lock does the one operation that follows, without
/// the lock; the reactor cannot go before that operation has been started.
class WatchReactor final : public grpc::ServerWriteReactor<v1::Mapping>,
                           public JobWatcher,
                           public std::enable_shared_from_this<WatchReactor> {
 public:
  explicit WatchReactor(WatchHub& hub) : hub_(hub) {}

  void Start(const JobStore& jobs, const std::string& job_id) {
    self_ = shared_from_this();
    // Subscribed first, so that no change falls between; older records are recognised.
    hub_.Subscribe(job_id, self_);
    const absl::StatusOr<JobRecord> job = jobs.Get(job_id);
    if (job.ok()) {
      OnChange(*job);
    } else {
      OnClosed();
    }
  }

  void OnChange(const JobRecord& job) override {
    {
      absl::MutexLock lock(&mutex_);
      if (job.changes <= newest_) return;
      newest_ = job.changes;
      pending_ = job;
    }
    Advance();
  }

  void OnClosed() override {
    {
      absl::MutexLock lock(&mutex_);
      closed_ = true;
    }
    Advance();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      busy_ = false;
      if (!ok) cancelled_ = true;
    }
    Advance();
  }

  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    Advance();
  }

  void OnDone() override {
    hub_.Unsubscribe(this);
    const std::shared_ptr<WatchReactor> last = std::move(self_);
  }

 private:
  void Advance() {
    std::optional<absl::Status> finish;
    {
      absl::MutexLock lock(&mutex_);
      if (busy_ || finished_) return;
      finish = NextStep();
      if (!busy_ && !finish.has_value()) return;
      finished_ = finish.has_value();
    }
    if (finish.has_value()) {
      Finish(ToGrpcStatus(*finish));
    } else {
      StartWrite(&message_);
    }
  }

  /// The status to finish with, or sets `busy_` for a write, or neither.
  std::optional<absl::Status> NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (cancelled_) return absl::CancelledError("the watcher has gone");
    if (pending_.has_value()) {
      absl::StatusOr<v1::Mapping> mapping = MappingFromJob(*pending_, /*with_report=*/true);
      if (!mapping.ok()) return mapping.status();
      message_ = *std::move(mapping);
      wrote_final_ = IsFinal(pending_->state);
      pending_.reset();
      busy_ = true;
      return std::nullopt;
    }
    if (wrote_final_) return absl::OkStatus();
    if (closed_) return DrainingError();
    return std::nullopt;
  }

  WatchHub& hub_;
  std::shared_ptr<WatchReactor> self_;  ///< until OnDone()
  v1::Mapping message_;                 ///< of the write under way

  absl::Mutex mutex_;
  std::optional<JobRecord> pending_ ABSL_GUARDED_BY(mutex_);
  int64_t newest_ ABSL_GUARDED_BY(mutex_) = -1;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool wrote_final_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

class RowsReactor final : public grpc::ServerWriteReactor<v1::EmbeddingBlock> {
 public:
  explicit RowsReactor(std::shared_ptr<const MappingResult> result) : result_(std::move(result)) {
    Advance();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Advance();
    } else {
      Finish(ToGrpcStatus(absl::CancelledError("the reader has gone")));
    }
  }

  void OnDone() override { delete this; }

 private:
  void Advance() {
    if (next_ >= result_->cells) {
      Finish(grpc::Status::OK);
      return;
    }
    const int64_t row_bytes =
        RowBytes(result_->n_latent, static_cast<int64_t>(result_->labels.size()));
    const int64_t rows =
        std::min(std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, row_bytes)),
                 result_->cells - next_);
    message_ = RowsToProto(*result_, next_, rows);
    next_ += rows;
    StartWrite(&message_);
  }

  const std::shared_ptr<const MappingResult> result_;
  v1::EmbeddingBlock message_;
  int64_t next_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::Mapping>* WatchJob(const JobStore& jobs, WatchHub& hub,
                                                const std::string& job_id) {
  const auto reactor = std::make_shared<WatchReactor>(hub);
  reactor->Start(jobs, job_id);
  return reactor.get();
}

grpc::ServerWriteReactor<v1::EmbeddingBlock>* StreamRows(
    std::shared_ptr<const MappingResult> result) {
  return new RowsReactor(std::move(result));
}

}  // namespace portolan::server
