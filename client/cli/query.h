#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/annotations.h"
#include "client/cpp/count_block.h"
#include "core/io/query_reader.h"
#include "portolan/v1/atlas.pb.h"
#include "portolan/v1/upload.pb.h"

namespace portolan::client {

/// Which part of which file, as the command line names it.
struct QueryArguments {
  std::string path;
  std::string layer;      ///< layers/LAYER instead of X
  bool raw = false;       ///< raw/X instead of X
  std::string batch_key;  ///< obs column with the batches, or
  std::string batch;      ///< one batch for all cells
  AnnotationArguments annotations;
  ProteinSource proteins;  ///< without a key: none, or what the file itself declares
  double min_gene_share = 0.5;
  int64_t chunk_cells = 2048;
};

/// "X", "layers/LAYER" or "raw/X".
MatrixSource SourceOf(const QueryArguments& arguments);

/// The batches of a query's cells.
struct BatchAssignment {
  std::vector<std::string> names;  ///< sorted, so that they do not depend on the order of cells
  std::vector<int32_t> codes;      ///< per cell, into `names`
  std::vector<int64_t> cells;      ///< per name
};

/// Error: InvalidField("batch_key") for a cell without a value, naming the first such cell.
absl::StatusOr<BatchAssignment> AssignBatches(const std::string& batch_key, const ObsColumn& column,
                                              const std::vector<std::string>& cell_names);

/// Surgery trains columns per new batch and learns nothing from a single cell: InvalidField
/// ("batch_key") that names the first new batch with one. Batches in `known` are not trained.
absl::Status RefuseSingleCellBatches(const BatchAssignment& batches,
                                     const std::set<std::string>& known,
                                     const std::vector<std::string>& cell_names);

/// Embedding knows the version's batches only: InvalidField("batch") that names the first other.
absl::Status RefuseUnknownBatches(const BatchAssignment& batches, const v1::Version& version);

/// A query file, opened and found to fit a version: gene alignment and batches. Holds names, never
/// the counts. Not thread-safe.
class Query {
 public:
  /// Errors: those of OpenQuery, GeneAlignment and AssignBatches; InvalidField("batch_key") naming
  /// the columns that exist when it is none of them.
  static absl::StatusOr<Query> Open(const QueryArguments& arguments, const v1::Version& version);

  /// Reads what `model` reads of the cells beside counts and batch; sent along from then on.
  /// Errors: those of ReadAnnotations.
  absl::Status Annotate(const v1::Model& model, AnnotationUse use);

  /// Whether the result can be a copy of the file.
  bool IsH5ad() const { return reader_->IsH5ad(); }
  /// The name of the column that tells the batches apart, as one link of HDF5.
  std::string batch_column() const;

  int64_t cells() const { return static_cast<int64_t>(reader_->cell_names().size()); }
  const std::vector<std::string>& cell_names() const { return reader_->cell_names(); }
  const BatchAssignment& batches() const { return batches_; }
  v1::GeneReport WireGenes() const;
  /// How the proteins met the reference's panel; nothing if the query brings none.
  std::optional<v1::ProteinReport> WireProteins() const;

  using CellSink = std::function<absl::Status(const CellBlock& cells)>;

  /// Streams the counts, cut down to the reference's genes, in file order; proteins, which are few,
  /// are read whole before. When the matrix is
  /// refused as not counts while another of the file looks like counts, the remedy names that one.
  absl::Status ReadCells(const CancelToken& cancel, const CellSink& sink);

 private:
  Query(QueryArguments arguments, std::vector<std::string> genes,
        std::unique_ptr<QueryReader> reader, GeneAlignment alignment, BatchAssignment batches);

  absl::Status AlignProteins(const v1::Version& version);
  absl::StatusOr<std::vector<float>> ReadProteins(const CancelToken& cancel);
  bool LooksLikeCounts(const MatrixSource& source, const CancelToken& cancel);
  absl::Status PointAtCounts(const absl::Status& refused, const CancelToken& cancel);

  QueryArguments arguments_;
  std::vector<std::string> reference_genes_;
  std::unique_ptr<QueryReader> reader_;
  GeneAlignment alignment_;
  std::optional<ProteinAlignment> proteins_;
  BatchAssignment batches_;
  CellAnnotations annotations_;
};

}  // namespace portolan::client
