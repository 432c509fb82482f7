#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "core/base/executor.h"

namespace portolan {

/// Lets idle workers of an executor take part in the loops of one task. Which thread computes which
/// index is left open, so loops must not depend on it: indices write to places of their own, and
/// what is summed over them is summed afterwards, in their order. Helpers stay between loops, ready
/// for the next one, and leave as soon as other tasks wait. ForEach is for one thread at a time.
class WorkSharing {
 public:
  /// `executor`: null for the calling thread alone; outlives this.
  explicit WorkSharing(Executor* executor);
  /// Waits until the helpers have left.
  ~WorkSharing();

  WorkSharing(const WorkSharing&) = delete;
  WorkSharing& operator=(const WorkSharing&) = delete;

  /// Threads that may take part at once.
  int64_t workers() const { return workers_; }

  /// Calls body(index, worker) once for every index below `n` (fewer than 2^32), and returns when
  /// all are done. `worker` tells the threads apart: below workers(), 0 is the caller. The first
  /// exception of a body is thrown again here.
  void ForEach(int64_t n, absl::FunctionRef<void(int64_t index, int64_t worker)> body);

 private:
  using Body = absl::FunctionRef<void(int64_t, int64_t)>;

  void Recruit();
  void Help(int64_t worker);
  void TakeIndices(uint32_t loop, int64_t worker);
  /// The number of the next loop, or the same one if there is none to come.
  uint32_t AwaitLoop(uint32_t seen) const;

  Executor* executor_;
  int64_t workers_;

  // Upper half: number of the loop; lower half: indices that nobody has taken yet. One word, so
  // that a helper who comes late takes nothing of a loop that is over.
  std::atomic<uint64_t> tickets_{0};
  std::atomic<int64_t> done_{0};
  std::atomic<bool> closed_{false};
  // Of the loop under way: written before it opens, read after a ticket was taken.
  const Body* body_ = nullptr;
  int64_t size_ = 0;

  absl::Mutex mutex_;
  std::vector<bool> present_ ABSL_GUARDED_BY(mutex_);  // by worker
  std::exception_ptr error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portolan
