#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <string>

#include "core/jobs/job.h"

namespace portolan::server {

/// The server's counters. Thread-safe. Always counted; only an OpsListener shows them.
class Metrics {
 public:
  Metrics();

  void MappingEnded(JobState state);
  void MappingSucceeded(double seconds, int64_t cells);
  void SetQueueDepth(int64_t jobs) { queue_depth_.Set(static_cast<double>(jobs)); }
  void UploadedBytes(int64_t bytes) { upload_bytes_.Increment(static_cast<double>(bytes)); }
  /// `method`: "/portolan.v1.AtlasService/GetAtlas"; `code`: of google.rpc.Code.
  void RpcEnded(const std::string& method, int code);

  /// In Prometheus' text format.
  std::string ToText() const;

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& mappings_;
  prometheus::Family<prometheus::Counter>& rpcs_;
  prometheus::Gauge& queue_depth_;
  prometheus::Counter& mapped_cells_;
  prometheus::Counter& upload_bytes_;
  prometheus::Histogram& mapping_seconds_;
};

}  // namespace portolan::server
