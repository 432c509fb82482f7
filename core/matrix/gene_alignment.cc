#include "core/matrix/gene_alignment.h"

#include <algorithm>
#include <cctype>
#include <functional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

using Names = std::span<const std::string>;

constexpr size_t kNamesShown = 3;
// A diagnosis needs this share of the smaller side to be explained by it.
constexpr double kExplained = 0.5;

// "ENSG00000141510.16": ENS, a species code of letters, eleven digits, perhaps a version.
bool IsEnsemblId(const std::string& name) {
  if (name.compare(0, 3, "ENS") != 0) return false;
  size_t at = 3;
  while (at < name.size() && absl::ascii_isupper(name[at])) ++at;
  size_t digits = 0;
  while (at + digits < name.size() && absl::ascii_isdigit(name[at + digits])) ++digits;
  return digits == 11 && (at + digits == name.size() || name[at + digits] == '.');
}

std::string WithoutVersion(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || !IsEnsemblId(name)) return name;
  return name.substr(0, dot);
}

std::string LowerCase(const std::string& name) { return absl::AsciiStrToLower(name); }

bool MostlyEnsembl(Names names) {
  const auto ids = std::count_if(names.begin(), names.end(), IsEnsemblId);
  return 2 * static_cast<size_t>(ids) > names.size();
}

// How many names of `a` are among `b` once both went through `change`.
size_t Common(Names a, Names b, const std::function<std::string(const std::string&)>& change) {
  absl::flat_hash_set<std::string> changed;
  for (const std::string& name : b) changed.insert(change(name));
  return std::count_if(a.begin(), a.end(),
                       [&](const std::string& name) { return changed.contains(change(name)); });
}

std::string FirstNames(Names names) {
  const Names first = names.first(std::min(names.size(), kNamesShown));
  return absl::StrCat(absl::StrJoin(first, ", "), names.size() > first.size() ? ", ..." : "");
}

// What most likely went wrong, as a remedy.
std::string Diagnose(Names reference, Names query, size_t matched) {
  const size_t enough = std::max<size_t>(
      matched + 1, static_cast<size_t>(kExplained * std::min(reference.size(), query.size())));
  if (Common(reference, query, WithoutVersion) >= enough) {
    return "The names differ in their Ensembl version suffix (\".12\"): strip it from var_names "
           "(adata.var_names.str.split('.').str[0]) or add the reference's.";
  }
  if (Common(reference, query, LowerCase) >= enough) {
    return "The names differ in upper and lower case: write them as the reference does (names in "
           "lower case are often another species' genes, which need a map of orthologues).";
  }
  if (MostlyEnsembl(reference) && !MostlyEnsembl(query)) {
    return "The reference uses Ensembl ids and the query something else, probably gene symbols: "
           "set var_names to the column of var that holds the Ensembl ids (often gene_ids).";
  }
  if (!MostlyEnsembl(reference) && MostlyEnsembl(query)) {
    return "The query uses Ensembl ids and the reference something else, probably gene symbols: "
           "set var_names to the column of var that holds the symbols (often feature_name or "
           "gene_symbols).";
  }
  return "Use a reference of the same species and annotation, and a query with all its genes "
         "rather than a selection of them.";
}

absl::Status TooFew(Names reference, Names query, Names cells, const GeneReport& report,
                    double min_share) {
  const auto matched = static_cast<size_t>(report.matched);
  const auto same = [](const std::string& name) { return name; };
  const size_t cells_like_genes = Common(reference, cells, same);
  if (cells_like_genes > matched &&
      cells_like_genes >= kExplained * std::min(reference.size(), cells.size())) {
    return InvalidField("X",
                        absl::StrFormat("transposed: %d of the reference's %d genes are cell names "
                                        "(obs_names), %d are gene names (var_names)",
                                        cells_like_genes, reference.size(), matched),
                        "Transpose the matrix so that cells are rows: adata = adata.T.");
  }
  const std::string both = absl::StrCat("The reference begins with ", FirstNames(reference),
                                        "; the query with ", FirstNames(query));
  const std::string found =
      matched == 0 ? absl::StrFormat("none of the reference's %d genes is among the query's %d",
                                     reference.size(), query.size())
                   : absl::StrFormat(
                         "%d of the reference's %d genes (%.1f%%) are among the query's %d; at "
                         "least %.1f%% are needed",
                         matched, reference.size(), 100.0 * matched / reference.size(),
                         query.size(), 100.0 * min_share);
  return InvalidField("var_names", absl::StrCat(found, ". ", both),
                      Diagnose(reference, query, matched));
}

}  // namespace

absl::StatusOr<GeneAlignment> GeneAlignment::Create(Names reference_genes, Names query_genes,
                                                    Names cell_names,
                                                    const GeneAlignmentOptions& options) {
  absl::flat_hash_map<std::string, int32_t> column_of;
  column_of.reserve(reference_genes.size());
  for (size_t i = 0; i < reference_genes.size(); ++i) {
    if (!column_of.try_emplace(reference_genes[i], static_cast<int32_t>(i)).second) {
      return InvalidField("reference genes",
                          absl::StrCat("the gene ", reference_genes[i], " more than once"),
                          "Gene names of a reference are unique.");
    }
  }

  GeneAlignment out;
  GeneReport& report = out.report_;
  report.reference_genes = static_cast<int64_t>(reference_genes.size());
  out.to_reference_.reserve(query_genes.size());
  std::vector<int32_t> hits(reference_genes.size(), 0);
  int32_t last = -1;
  for (const std::string& name : query_genes) {
    const auto found = column_of.find(name);
    if (found == column_of.end()) {
      out.to_reference_.push_back(-1);
      ++report.extra;
      continue;
    }
    const int32_t column = found->second;
    out.to_reference_.push_back(column);
    if (++hits[column] > 1) continue;
    ++report.matched;
    if (column < last) report.reordered = true;
    last = column;
  }
  for (size_t i = 0; i < hits.size(); ++i) {
    if (hits[i] == 0) report.missing.push_back(reference_genes[i]);
    if (hits[i] > 1) report.duplicated.push_back(reference_genes[i]);
  }
  if (report.matched == 0 || static_cast<double>(report.matched) <
                                 options.min_share * static_cast<double>(report.reference_genes)) {
    return TooFew(reference_genes, query_genes, cell_names, report, options.min_share);
  }
  return out;
}

}  // namespace portolan
