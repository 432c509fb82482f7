#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "client/cpp/mapping.h"
#include "portolan/v1/atlas.pb.h"
#include "portolan/v1/mapping.pb.h"

// All conversion from the wire's messages to the JSON that the program prints and to the dict that
// it writes into results.

namespace portolan::client {

/// An entry of `atlas list`: name, model, scvi_version, genes (a number), latent, and what else the
/// model says about itself.
nlohmann::json AtlasJson(const v1::Atlas& atlas);

/// `atlas show`: AtlasJson plus batches and labels in code order, and the ids of its versions;
/// "gene_names" only on request.
nlohmann::json AtlasDetailJson(const v1::Atlas& atlas, const v1::Version& reference,
                               const v1::ListVersionsResponse& versions, bool with_genes);

nlohmann::json VersionJson(const v1::Version& version);

/// What a mapping was made onto and by.
struct ResultContext {
  std::string atlas;
  v1::Model model;
};

/// How a dict names its batches. An HDF5 key must not be empty or "." or hold '/': kHdf5 replaces
/// what cannot stand and keeps keys apart; the names themselves are in "batch_names".
enum class BatchKeys { kNames, kHdf5 };

/// One key per name, in the order of the names.
std::vector<std::string> KeysOf(const std::vector<std::string>& names, BatchKeys keys);

/// A mapping's report: uns["portolan"] of the result (kHdf5), or what --json prints (kNames).
nlohmann::json ReportJson(const v1::MappingReport& report, const ResultContext& context,
                          BatchKeys keys);

/// The same of an embedding without training.
struct EmbedReport {
  std::string version_id;
  std::vector<std::string> labels;
  std::string instruction_set;
  v1::GeneReport genes;
  std::vector<std::string> batches;
  std::vector<int64_t> cells;  ///< per batch
};
nlohmann::json ReportJson(const EmbedReport& report, const ResultContext& context, BatchKeys keys);

/// Cells per label, labels without a cell left out. Codes are within `labels`.
nlohmann::json LabelCountsJson(const std::vector<std::string>& labels,
                               const std::vector<int32_t>& codes);

/// One JSON document as text; bytes that are no UTF-8 are replaced.
std::string JsonText(const nlohmann::json& value);

}  // namespace portolan::client
