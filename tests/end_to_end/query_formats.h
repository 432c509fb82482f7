#pragma once

#include <string>

#include "tests/end_to_end/query_cells.h"

/// Writes a query's names and counts in the formats other than h5ad that `portolan` reads. The
/// genes' symbols are the names; their ids are made up.
namespace portolan::end_to_end {

/// A table of cells by genes, or of genes by cells.
void WriteCellsByGenes(const QueryCells& query, const std::string& path, char separator,
                       bool with_batches = false);
void WriteGenesByCells(const QueryCells& query, const std::string& path, char separator);

/// A folder with features.tsv.gz and so on (version 3), or genes.tsv and so on (version 2).
void WriteMex3(const QueryCells& query, const std::string& folder);
void WriteMex2(const QueryCells& query, const std::string& folder);

/// Cell Ranger's HDF5 file.
void WriteTenx3(const QueryCells& query, const std::string& path);
void WriteTenx2(const QueryCells& query, const std::string& path);

}  // namespace portolan::end_to_end
