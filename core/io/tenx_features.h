#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/query_reader.h"

namespace portolan {

inline constexpr char kGeneExpression[] = "Gene Expression";
inline constexpr char kAntibodyCapture[] = "Antibody Capture";

/// The features of a 10x matrix as Cell Ranger lists them; parallel lists.
struct TenxFeatureList {
  std::vector<std::string> ids;      ///< Ensembl ids, or the antibody's id
  std::vector<std::string> names;    ///< gene symbols, or the antibody's name
  std::vector<std::string> types;    ///< empty (version 2): all are genes
  std::vector<std::string> genomes;  ///< empty where the file does not tell
};

/// The features told apart: genes, whose names are the ids or the symbols, whichever the reference
/// uses, without the genome's prefix ("GRCh38_") where the reference has none; and the other types,
/// of which "Antibody Capture" are proteins. Immutable.
class TenxFeatures {
 public:
  /// Without reference genes the symbols are taken. Errors: InvalidField(field) for lists of
  /// different lengths and for a matrix without genes.
  static absl::StatusOr<TenxFeatures> Create(TenxFeatureList list,
                                             std::span<const std::string> reference_genes,
                                             const std::string& field);

  int64_t size() const { return size_; }
  const std::vector<std::string>& genes() const { return genes_; }
  int64_t matches() const { return matches_; }  ///< genes that the reference knows

  /// kAntibodyCapture where the file has such features, else empty.
  std::string DeclaredProteins() const;

  /// Names of the features of a type: their names, or their ids where names repeat. Errors:
  /// InvalidField("proteins") naming the types that exist.
  absl::StatusOr<std::vector<std::string>> ProteinNames(const ProteinSource& source) const;

  /// For every feature its column after the alignment of genes() or of ProteinNames(source); -1
  /// where it has none. Errors: InvalidField for an alignment of another number of names.
  absl::StatusOr<std::vector<int32_t>> GeneColumns(const GeneAlignment& alignment) const;
  absl::StatusOr<std::vector<int32_t>> ProteinColumns(const ProteinSource& source,
                                                      const ProteinAlignment& alignment) const;

 private:
  int64_t size_ = 0;
  int64_t matches_ = 0;
  std::vector<std::string> genes_;
  std::vector<int64_t> gene_rows_;  // where genes_ stand among the features
  TenxFeatureList others_;          // what is no gene
  std::vector<int64_t> other_rows_;
};

}  // namespace portolan
