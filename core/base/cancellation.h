#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"

namespace portolan {

/// A one-way flag shared between the side that asks for a stop and the work that obeys it.
/// Copies share the flag. Thread-safe. Work checks it at least once per minibatch or row block.
class CancelToken {
 public:
  CancelToken() : flag_(std::make_shared<std::atomic<bool>>(false)) {}

  /// A token of its own that is also cancelled when this one is.
  CancelToken Child() const {
    CancelToken child;
    child.parent_ = std::make_shared<CancelToken>(*this);
    return child;
  }

  void Cancel() const { flag_->store(true, std::memory_order_relaxed); }
  bool cancelled() const {
    return flag_->load(std::memory_order_relaxed) || (parent_ != nullptr && parent_->cancelled());
  }

  /// OK, or kCancelled.
  absl::Status Check() const {
    return cancelled() ? absl::CancelledError("cancelled on request") : absl::OkStatus();
  }

 private:
  std::shared_ptr<std::atomic<bool>> flag_;
  std::shared_ptr<const CancelToken> parent_;
};

}  // namespace portolan
