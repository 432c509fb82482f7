#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/atlas/atlas.h"
#include "core/jobs/job.h"
#include "core/mapping/mapping.h"
#include "portolan/v1/atlas.pb.h"
#include "portolan/v1/mapping.pb.h"
#include "portolan/v1/upload.pb.h"
#include "server/uploads.h"

namespace portolan::server {

/// Between wire types and core types. Wire types go no further in than the services.

/// InvalidField("options.FIELD") for unknown enum values and numbers that no training could use.
absl::StatusOr<MappingOptions> FromProto(const v1::MappingOptions& wire);
GeneReport FromProto(const v1::GeneReport& wire);

v1::GeneReport ToProto(const GeneReport& report);

ProteinReport FromProto(const v1::ProteinReport& wire);
v1::ProteinReport ToProto(const ProteinReport& report);
v1::Model ToProto(const ModelDescription& description);
v1::Atlas ToProto(const Atlas& atlas);
/// `with_genes`: the list of genes is long, and the same for all versions of an atlas.
v1::Version ToProto(const Atlas& atlas, const AtlasVersion& version, bool with_genes);
v1::Upload ToProto(const UploadState& state);
v1::Progress ToProto(const MappingProgress& progress);
/// The report of a mapping onto an atlas.
v1::MappingReport ToProto(const std::string& atlas, const MappingResult& result);
v1::Error ToProto(const absl::Status& status);

/// A job whose spec is a serialised CreateMappingRequest, progress a Progress and result a
/// MappingReport. kInternal if they are not.
absl::StatusOr<v1::Mapping> MappingFromJob(const JobRecord& job, bool with_report);

/// Rows [first, first + cells) of a result.
v1::EmbeddingBlock RowsToProto(const MappingResult& result, int64_t first, int64_t cells);

/// Bytes that one row takes in an EmbeddingBlock.
int64_t RowBytes(int64_t n_latent, int64_t n_labels);

}  // namespace portolan::server
