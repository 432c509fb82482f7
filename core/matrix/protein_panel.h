#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// A protein's name as panels spell it differently, brought to one form: lower case, without the
/// suffixes that name the antibody's reagent or the modality (`_TotalSeqB`, `-TotalSeqC`,
/// `_TotalSeq-A`, `_protein`, `_prot`, `_adt`, ...), with one hyphen for each run of spaces, dots,
/// underscores and hyphens: "CD8a_TotalSeqB" and "CD8A.protein" are both "cd8a". Never empty unless
/// `name` is.
std::string NormalisedProteinName(const std::string& name);

/// How a query's proteins met the reference's panel.
struct ProteinReport {
  int64_t reference_proteins = 0;
  int64_t matched = 0;  ///< reference proteins found in the query
  /// Of these, the ones that only the normalised name found: (query's name, reference's name).
  std::vector<std::pair<std::string, std::string>> renamed;
  std::vector<std::string> missing;  ///< reference proteins absent from the query: not measured
  std::vector<std::string> extra;    ///< query proteins the reference does not know; dropped
};

/// Maps the columns of a query's protein matrix onto the reference's panel: by exact name first,
/// then by normalised name among what is left on both sides. Immutable.
class ProteinAlignment {
 public:
  /// Errors: InvalidField("proteins") when a name stands twice, when several names could be the
  /// same protein, or when nothing matches (naming both sides' first names).
  static absl::StatusOr<ProteinAlignment> Create(std::span<const std::string> reference_proteins,
                                                 std::span<const std::string> query_proteins);

  /// The reference's column for a query column, or -1 where it is dropped.
  int32_t reference_column(int64_t query_column) const { return to_reference_[query_column]; }
  std::span<const int32_t> reference_columns() const { return to_reference_; }
  int64_t query_proteins() const { return static_cast<int64_t>(to_reference_.size()); }
  int64_t reference_proteins() const { return report_.reference_proteins; }

  /// Per reference protein: 1 where the query has a column for it.
  const std::vector<uint8_t>& present() const { return present_; }
  const ProteinReport& report() const { return report_; }

 private:
  std::vector<int32_t> to_reference_;
  std::vector<uint8_t> present_;
  ProteinReport report_;
};

}  // namespace portolan
