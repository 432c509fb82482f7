#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"

namespace portolan {

/// The three files of a matrix as Cell Ranger writes it into a folder ("MEX"): matrix.mtx,
/// barcodes.tsv, and features.tsv (version 3) or genes.tsv (version 2); each plain or gzip (.gz).
/// Their names may share a prefix ("GSM123_matrix.mtx.gz").
struct MexFiles {
  std::string matrix;
  std::string features;
  std::string barcodes;
};

/// Finds them: `path` is the folder, or the matrix itself. Empty where a folder has no matrix.
/// Errors: InvalidField("file") for several matrices, or a matrix without the files beside it.
absl::StatusOr<std::optional<MexFiles>> FindMex(const std::string& path);

/// Opens features x cells, or cells x features where the sizes say so. Entries that come cell by
/// cell, as Cell Ranger writes them, are streamed; in another order the matching ones of all cells
/// are kept in memory while they are read.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenMex(const MexFiles& files,
                                                     std::span<const std::string> reference_genes);

}  // namespace portolan
