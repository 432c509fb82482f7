#include "server/metrics.h"

#include <prometheus/text_serializer.h>

#include "absl/status/status.h"

namespace portolan::server {
namespace {

std::string CodeName(int code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

}  // namespace

Metrics::Metrics()
    : mappings_(prometheus::BuildCounter()
                    .Name("portolan_mappings_total")
                    .Help("Finished mappings by final state.")
                    .Register(registry_)),
      rpcs_(prometheus::BuildCounter()
                .Name("portolan_rpcs_total")
                .Help("Finished calls by method and status code.")
                .Register(registry_)),
      queue_depth_(prometheus::BuildGauge()
                       .Name("portolan_queued_mappings")
                       .Help("Mappings that wait for a worker.")
                       .Register(registry_)
                       .Add({})),
      mapped_cells_(prometheus::BuildCounter()
                        .Name("portolan_mapped_cells_total")
                        .Help("Cells of mappings that succeeded.")
                        .Register(registry_)
                        .Add({})),
      upload_bytes_(prometheus::BuildCounter()
                        .Name("portolan_upload_bytes_total")
                        .Help("Bytes of upload parts that were accepted.")
                        .Register(registry_)
                        .Add({})),
      mapping_seconds_(prometheus::BuildHistogram()
                           .Name("portolan_mapping_seconds")
                           .Help("Run time of mappings that succeeded, without their queueing.")
                           .Register(registry_)
                           .Add({}, prometheus::Histogram::BucketBoundaries{
                                        1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800})) {
  for (const JobState state : {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    mappings_.Add({{"state", std::string(JobStateName(state))}});
  }
}

void Metrics::MappingEnded(JobState state) {
  mappings_.Add({{"state", std::string(JobStateName(state))}}).Increment();
}

void Metrics::MappingSucceeded(double seconds, int64_t cells) {
  mapping_seconds_.Observe(seconds);
  mapped_cells_.Increment(static_cast<double>(cells));
}

void Metrics::RpcEnded(const std::string& method, int code) {
  rpcs_.Add({{"method", method}, {"code", CodeName(code)}}).Increment();
}

std::string Metrics::ToText() const {
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace portolan::server
