#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/cancellation.h"
#include "core/matrix/csr_matrix.h"
#include "core/matrix/gene_alignment.h"
#include "core/matrix/protein_panel.h"

namespace portolan {

/// Which matrix of a query file holds the counts: "X", "layers/NAME" or "raw/X".
struct MatrixSource {
  std::string path = "X";
};

/// Which part of a query file holds protein counts.
struct ProteinSource {
  std::string key;        ///< h5ad: of obsm (an array, sparse or not, or a data frame); else: a
                          ///< feature type ("Antibody Capture")
  std::string names_key;  ///< h5ad: of uns, where the names of an array's columns stand
};

/// A column of obs, as text. Missing values (NaN, None, code -1) are empty optionals. Numbers and
/// booleans are spelled as Python's str() spells them, since that is how a batch gets its name.
struct ObsColumn {
  std::vector<std::optional<std::string>> values;
};

/// A file of query cells, opened. The format is found by content. Not thread-safe; HDF5 itself is
/// serialised by a lock inside io/.
class QueryReader {
 public:
  virtual ~QueryReader() = default;

  /// Whether the file is an h5ad file, which a result can be a copy of.
  virtual bool IsH5ad() const { return false; }

  /// obs names, in file order.
  virtual const std::vector<std::string>& cell_names() const = 0;

  /// Column names of one matrix (raw/X has genes of its own).
  virtual absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource& source) = 0;

  /// Names of the obs columns.
  virtual std::vector<std::string> ObsColumnNames() const { return {}; }

  /// Error: InvalidField("obs") naming the column asked for and those that exist.
  virtual absl::StatusOr<ObsColumn> ReadObs(const std::string& column);

  using BlockSink = std::function<absl::Status(int64_t first_row, CsrMatrix block)>;

  /// Streams the counts in row order, cut down to the reference's genes, checked by CountCheck.
  /// Blocks have at most `max_rows` rows (the last may be shorter); peak memory grows with the
  /// reference's genes and `max_rows`, not with the file's genes (what is not stored by cells keeps
  /// the matching entries of all its cells). Stops at the sink's first error.
  virtual absl::Status ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                                  int64_t max_rows, const CancelToken& cancel,
                                  const BlockSink& sink) = 0;

  /// The key of a ProteinSource that the file itself declares; empty where it declares none.
  virtual std::string DeclaredProteins() const { return ""; }

  /// Column names of the protein matrix. Errors: InvalidField("proteins") naming the keys that
  /// exist, or what is wrong with the matrix or its names.
  virtual absl::StatusOr<std::vector<std::string>> ProteinNames(const ProteinSource& source);

  /// `values`: rows x the reference's proteins, row-major; 0 where the alignment has no column.
  using ProteinSink = std::function<absl::Status(int64_t first_row, std::vector<float> values)>;

  /// Streams the protein counts in row order as ReadCounts does, cut to the reference's panel and
  /// checked to be counts.
  virtual absl::Status ReadProteins(const ProteinSource& source, const ProteinAlignment& alignment,
                                    int64_t max_rows, const CancelToken& cancel,
                                    const ProteinSink& sink);
};

struct OpenQueryOptions {
  /// Tells symbols from ids where a file has both, and a table's genes from its cells.
  std::span<const std::string> reference_genes = {};
};

/// Opens a file or folder, whose format is found by its content: h5ad (anndata 0.7 to today), 10x
/// HDF5 (Cell Ranger 2 and later), a folder or matrix in Matrix Market format with its names beside
/// it ("MEX"), or a table of text (csv, tsv); text may be compressed with gzip. Errors: kNotFound,
/// or InvalidField for what is none of these, is truncated, has no cells, or duplicate cell names.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenQuery(const std::string& path,
                                                       const OpenQueryOptions& options = {});

}  // namespace portolan
