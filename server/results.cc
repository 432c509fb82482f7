#include "server/results.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"

namespace portolan::server {
namespace {

int64_t BytesOf(const MappingResult& result) {
  return static_cast<int64_t>(result.latent.size() * sizeof(float) +
                              result.probabilities.size() * sizeof(float) +
                              result.label_codes.size() * sizeof(int32_t));
}

}  // namespace

void ResultStore::Put(const std::string& mapping_id, std::shared_ptr<const MappingResult> result) {
  absl::MutexLock lock(&mutex_);
  bytes_ += BytesOf(*result);
  const bool is_new = results_.emplace(mapping_id, result).second;
  if (is_new) {
    oldest_first_.push_back(mapping_id);
  } else {
    // A second attempt at the same mapping; its result has the same bits.
    bytes_ -= BytesOf(*results_[mapping_id]);
    results_[mapping_id] = std::move(result);
  }
  while (oldest_first_.size() > 1 &&
         (static_cast<int64_t>(oldest_first_.size()) > limits_.max_results ||
          bytes_ > limits_.max_bytes)) {
    const auto oldest = results_.find(oldest_first_.front());
    bytes_ -= BytesOf(*oldest->second);
    results_.erase(oldest);
    oldest_first_.pop_front();
  }
}

absl::StatusOr<std::shared_ptr<const MappingResult>> ResultStore::Find(
    const std::string& mapping_id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = results_.find(mapping_id);
  if (found == results_.end()) {
    return FieldError(absl::StatusCode::kNotFound, "name",
                      absl::StrCat("the rows of mapping ", mapping_id, " have expired"),
                      "Map the query again; the same seed and version give the same rows.");
  }
  return found->second;
}

}  // namespace portolan::server
