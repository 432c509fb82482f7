#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

/// Protein counts in obsm of an h5ad file: an array of cells x proteins, dense or sparse, whose
/// names stand in uns, or a data frame, whose columns are the proteins. `file` is open, of `cells`
/// cells. Errors: InvalidField("proteins") and ("obsm/KEY").
namespace portolan::h5ad {

/// QueryReader::ProteinNames.
absl::StatusOr<std::vector<std::string>> ProteinNames(const hdf5::Handle& file, int64_t cells,
                                                      const ProteinSource& source);

/// What QueryReader::ReadProteins needs besides the file.
struct ReadProteinsRequest {
  const ProteinSource& source;
  const ProteinAlignment& alignment;
  int64_t max_rows = 0;
  const CancelToken& cancel;
  const QueryReader::ProteinSink& sink;
};

absl::Status ReadProteins(const hdf5::Handle& file, int64_t cells,
                          const ReadProteinsRequest& request);

}  // namespace portolan::h5ad
