#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"

namespace portolan::fuzz {

/// Reads everything that a query file offers and stops the process where a reader breaks its
/// promise: blocks out of order or too long, columns that do not ascend or stand outside the
/// reference, counts that are no counts, an error without a field. An error itself is fine.
void CheckReader(const absl::StatusOr<std::unique_ptr<QueryReader>>& reader);

/// The reference's genes and proteins that queries are read for.
const std::vector<std::string>& ReferenceGenes();
const std::vector<std::string>& ReferenceProteins();

}  // namespace portolan::fuzz
