#include "core/io/tenx_features.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/query_checks.h"

namespace portolan {
namespace {

using Names = std::vector<std::string>;

Names Pick(const Names& from, const std::vector<int64_t>& rows) {
  Names out;
  out.reserve(rows.size());
  for (const int64_t row : rows) out.push_back(from[row]);
  return out;
}

// "GRCh38_CD3D" of the genome GRCh38 is "CD3D".
Names WithoutGenome(const Names& names, const Names& genomes) {
  Names out;
  out.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string prefix = genomes[i] + "_";
    out.push_back(names[i].starts_with(prefix) ? names[i].substr(prefix.size()) : names[i]);
  }
  return out;
}

// The way to name the genes that the reference knows best; the first of equals.
int64_t ChooseNames(std::vector<Names> candidates, std::span<const std::string> reference,
                    Names& chosen) {
  size_t best = 0;
  int64_t most = CountMatches(reference, candidates[0]);
  for (size_t i = 1; i < candidates.size(); ++i) {
    const int64_t matches = CountMatches(reference, candidates[i]);
    if (matches <= most) continue;
    most = matches;
    best = i;
  }
  chosen = std::move(candidates[best]);
  return most;
}

bool Unique(const Names& names) {
  const absl::flat_hash_set<std::string> seen(names.begin(), names.end());
  return seen.size() == names.size();
}

absl::StatusOr<std::vector<int32_t>> Spread(int64_t size, const std::vector<int64_t>& rows,
                                            std::span<const int32_t> columns) {
  if (columns.size() != rows.size()) {
    return InvalidField("features",
                        absl::StrCat(rows.size(), " features, aligned as ", columns.size()),
                        "Align the features of the same matrix.");
  }
  std::vector<int32_t> out(static_cast<size_t>(size), -1);
  for (size_t i = 0; i < rows.size(); ++i) out[rows[i]] = columns[i];
  return out;
}

}  // namespace

absl::StatusOr<TenxFeatures> TenxFeatures::Create(TenxFeatureList list,
                                                  std::span<const std::string> reference_genes,
                                                  const std::string& field) {
  const size_t size = list.ids.size();
  if (list.names.size() != size || (!list.types.empty() && list.types.size() != size) ||
      (!list.genomes.empty() && list.genomes.size() != size)) {
    return InvalidField(
        field,
        absl::StrCat("lists of different lengths: ", size, " ids, ", list.names.size(), " names, ",
                     list.types.size(), " types, ", list.genomes.size(), " genomes"),
        "The file may be damaged: copy or write it again.");
  }
  TenxFeatures out;
  out.size_ = static_cast<int64_t>(size);
  for (int64_t i = 0; i < out.size_; ++i) {
    const bool gene = list.types.empty() || list.types[i] == kGeneExpression;
    (gene ? out.gene_rows_ : out.other_rows_).push_back(i);
  }
  PORTOLAN_RETURN_IF_ERROR(CheckGeneCount(field, static_cast<int64_t>(out.gene_rows_.size())));
  std::vector<Names> candidates = {Pick(list.names, out.gene_rows_),
                                   Pick(list.ids, out.gene_rows_)};
  if (!list.genomes.empty()) {
    const Names genomes = Pick(list.genomes, out.gene_rows_);
    for (int i = 0; i < 2; ++i) candidates.push_back(WithoutGenome(candidates[i], genomes));
  }
  out.matches_ = ChooseNames(std::move(candidates), reference_genes, out.genes_);
  out.others_.ids = Pick(list.ids, out.other_rows_);
  out.others_.names = Pick(list.names, out.other_rows_);
  if (!list.types.empty()) out.others_.types = Pick(list.types, out.other_rows_);
  return out;
}

std::string TenxFeatures::DeclaredProteins() const {
  const auto& types = others_.types;
  return std::find(types.begin(), types.end(), kAntibodyCapture) == types.end() ? ""
                                                                                : kAntibodyCapture;
}

absl::StatusOr<Names> TenxFeatures::ProteinNames(const ProteinSource& source) const {
  Names names;
  Names ids;
  for (size_t i = 0; i < others_.types.size(); ++i) {
    if (others_.types[i] != source.key) continue;
    names.push_back(others_.names[i]);
    ids.push_back(others_.ids[i]);
  }
  if (!names.empty()) return Unique(names) ? names : ids;
  const std::set<std::string> types(others_.types.begin(), others_.types.end());
  return InvalidField(
      "proteins", absl::StrCat("the file has no features of the type '", source.key, "'"),
      types.empty() ? "All its features are genes: map it without proteins."
                    : absl::StrCat("It has, beside genes: ", absl::StrJoin(types, ", "), "."));
}

absl::StatusOr<std::vector<int32_t>> TenxFeatures::GeneColumns(
    const GeneAlignment& alignment) const {
  return Spread(size_, gene_rows_, alignment.reference_columns());
}

absl::StatusOr<std::vector<int32_t>> TenxFeatures::ProteinColumns(
    const ProteinSource& source, const ProteinAlignment& alignment) const {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < others_.types.size(); ++i) {
    if (others_.types[i] == source.key) rows.push_back(other_rows_[i]);
  }
  return Spread(size_, rows, alignment.reference_columns());
}

}  // namespace portolan
