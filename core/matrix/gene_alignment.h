#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// How a query's genes met the reference's.
struct GeneReport {
  int64_t reference_genes = 0;
  int64_t matched = 0;                  ///< reference genes found in the query
  std::vector<std::string> missing;     ///< reference genes absent from the query; filled with 0
  int64_t extra = 0;                    ///< query columns the reference does not know; dropped
  std::vector<std::string> duplicated;  ///< matched genes with several query columns; summed
  bool reordered = false;               ///< the common genes stood in another order
};

struct GeneAlignmentOptions {
  /// Refuse a query that has less than this share of the reference's genes. scvi-tools warns below
  /// 0.8 and refuses nothing; mappings below about two thirds are known to be poor.
  double min_share = 0.5;
};

/// Maps a query's columns onto the reference's genes, by exact name. Immutable.
class GeneAlignment {
 public:
  /// `cell_names` serves only to recognise a transposed matrix. Errors: InvalidField("var_names")
  /// when nothing or less than `min_share` matches, naming both sides' first names.
  static absl::StatusOr<GeneAlignment> Create(std::span<const std::string> reference_genes,
                                              std::span<const std::string> query_genes,
                                              std::span<const std::string> cell_names,
                                              const GeneAlignmentOptions& options = {});

  /// The reference's column for a query column, or -1 where it is dropped.
  int32_t reference_column(int64_t query_column) const { return to_reference_[query_column]; }
  std::span<const int32_t> reference_columns() const { return to_reference_; }
  int64_t query_genes() const { return static_cast<int64_t>(to_reference_.size()); }
  int64_t reference_genes() const { return report_.reference_genes; }
  const GeneReport& report() const { return report_; }

 private:
  std::vector<int32_t> to_reference_;
  GeneReport report_;
};

}  // namespace portolan
