#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/report_json.h"

namespace portolan::client {

/// What a mapping brought, as a few lines for people: genes matched, batches trained, ELBO, cells
/// per label, version, notes, file.
std::string MappingSummary(const v1::MappingReport& report, const ResultContext& context,
                           const std::vector<int32_t>& label_codes, const std::string& file);

/// The same of an embedding without training.
std::string EmbedSummary(const EmbedReport& report, const ResultContext& context,
                         const std::vector<int32_t>& label_codes, const std::string& file);

}  // namespace portolan::client
