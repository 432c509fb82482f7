#include "core/matrix/protein_panel.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

using Names = std::span<const std::string>;

constexpr size_t kNamesShown = 5;

// After the separators have become hyphens.
constexpr std::array<std::string_view, 12> kSuffixes = {
    "-totalseqa",  "-totalseqb",  "-totalseqc", "-totalseqd", "-totalseq-a", "-totalseq-b",
    "-totalseq-c", "-totalseq-d", "-totalseq",  "-protein",   "-prot",       "-adt"};

std::string FirstNames(Names names) {
  const Names first = names.first(std::min(names.size(), kNamesShown));
  return absl::StrCat(absl::StrJoin(first, ", "), names.size() > first.size() ? ", ..." : "");
}

using ColumnsByName = absl::flat_hash_map<std::string, std::vector<int32_t>>;

absl::StatusOr<absl::flat_hash_map<std::string, int32_t>> UniqueNames(Names names,
                                                                      const char* whose) {
  absl::flat_hash_map<std::string, int32_t> out;
  out.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    if (out.try_emplace(names[i], static_cast<int32_t>(i)).second) continue;
    return InvalidField("proteins",
                        absl::StrCat("the protein ", names[i], " twice among the ", whose),
                        "Give every protein a name of its own.");
  }
  return out;
}

// The columns that `used` leaves, by normalised name.
ColumnsByName LeftOver(Names names, const std::vector<bool>& used) {
  ColumnsByName out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!used[i]) out[NormalisedProteinName(names[i])].push_back(static_cast<int32_t>(i));
  }
  return out;
}

absl::Status Ambiguous(Names names, const std::vector<int32_t>& columns, const char* whose,
                       const std::string& other) {
  return InvalidField("proteins",
                      absl::StrCat(names[columns[0]], " and ", names[columns[1]], " of the ", whose,
                                   " could both be ", other),
                      "Rename the proteins of the query as the reference spells them, or leave "
                      "out the ones that are not meant.");
}

}  // namespace

std::string NormalisedProteinName(const std::string& name) {
  std::string out;
  for (const char c : absl::AsciiStrToLower(name)) {
    const bool separates = c == ' ' || c == '.' || c == '_' || c == '-';
    if (separates && !out.empty() && out.back() == '-') continue;
    out.push_back(separates ? '-' : c);
  }
  for (bool stripped = true; stripped;) {
    stripped = false;
    for (const std::string_view suffix : kSuffixes) {
      if (out.size() <= suffix.size() || !out.ends_with(suffix)) continue;
      out.resize(out.size() - suffix.size());
      stripped = true;
    }
  }
  return out;
}

absl::StatusOr<ProteinAlignment> ProteinAlignment::Create(Names reference, Names query) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto column_of, UniqueNames(reference, "reference's"));
  PORTOLAN_RETURN_IF_ERROR(UniqueNames(query, "query's").status());

  ProteinAlignment out;
  out.to_reference_.assign(query.size(), -1);
  std::vector<bool> query_used(query.size(), false);
  std::vector<bool> reference_used(reference.size(), false);
  const auto match = [&](size_t from, int32_t to) {
    out.to_reference_[from] = to;
    query_used[from] = true;
    reference_used[to] = true;
    ++out.report_.matched;
  };
  for (size_t i = 0; i < query.size(); ++i) {
    const auto found = column_of.find(query[i]);
    if (found != column_of.end()) match(i, found->second);
  }
  const ColumnsByName left = LeftOver(reference, reference_used);
  const ColumnsByName offered = LeftOver(query, query_used);
  for (size_t i = 0; i < query.size(); ++i) {
    if (query_used[i]) continue;
    const std::string key = NormalisedProteinName(query[i]);
    const auto found = left.find(key);
    if (found == left.end()) continue;
    const std::vector<int32_t>& candidates = offered.at(key);
    if (candidates.size() > 1) {
      return Ambiguous(query, candidates, "query", reference[found->second[0]]);
    }
    if (found->second.size() > 1) return Ambiguous(reference, found->second, "reference", query[i]);
    match(i, found->second[0]);
    out.report_.renamed.emplace_back(query[i], reference[found->second[0]]);
  }

  out.report_.reference_proteins = static_cast<int64_t>(reference.size());
  for (size_t i = 0; i < query.size(); ++i) {
    if (!query_used[i]) out.report_.extra.push_back(query[i]);
  }
  for (size_t i = 0; i < reference.size(); ++i) {
    out.present_.push_back(reference_used[i] ? 1 : 0);
    if (!reference_used[i]) out.report_.missing.push_back(reference[i]);
  }
  if (out.report_.matched > 0) return out;
  return InvalidField(
      "proteins",
      absl::StrCat("none of the reference's ", reference.size(), " proteins is among the query's ",
                   query.size(), ". The reference begins with ", FirstNames(reference),
                   "; the query with ", FirstNames(query)),
      "Name the proteins as the reference does, or map the query without its proteins.");
}

}  // namespace portolan
