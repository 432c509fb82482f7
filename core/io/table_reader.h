#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"

namespace portolan {

/// Whether text begins like a table: one of tab, comma and semicolon in its first line.
bool LooksLikeTable(std::string_view head);

/// Opens a table of text (csv, tsv; plain or gzip): a line of column names, then lines that begin
/// with a row name. The first line may have a field above the row names or not. Cells are the rows,
/// or the columns where the row names are more of the reference's genes than the column names are.
/// In a table of cells by genes, columns whose first value is no number are the columns of obs.
/// Reads the whole table once, for the names. A table of genes by cells keeps the matching genes'
/// counts of all cells in memory while they are read. Errors: InvalidField, naming line and column.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenTable(
    const std::string& path, std::span<const std::string> reference_genes);

}  // namespace portolan
