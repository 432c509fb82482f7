#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/io/query_reader.h"

/// What the readers of all formats ask of a query file, and how they choose by the reference.
namespace portolan {

/// InvalidField("obs_names") where a name stands twice.
absl::Status CheckCellNames(const std::vector<std::string>& names);

/// InvalidField(field) for a file without cells or genes (`what`), or with absurdly many.
absl::Status CheckCellCount(const std::string& field, int64_t cells);
absl::Status CheckGeneCount(const std::string& field, int64_t genes);

/// For formats that hold a single matrix: InvalidField(source.path) unless that is X.
absl::Status CheckOnlyX(const MatrixSource& source);

/// InvalidField("max_rows") below 1.
absl::Status CheckMaxRows(int64_t max_rows);

/// How many of `names` are among the reference's genes, each counted once.
int64_t CountMatches(std::span<const std::string> reference_genes,
                     std::span<const std::string> names);

}  // namespace portolan
