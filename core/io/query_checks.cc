#include "core/io/query_checks.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

constexpr int64_t kMostCells = (int64_t{1} << 31) - 1;
constexpr int64_t kMostGenes = int64_t{1} << 28;

absl::Status CheckSize(const std::string& field, const char* what, int64_t size, int64_t most) {
  if (size > 0 && size <= most) return absl::OkStatus();
  return InvalidField(
      field, absl::StrCat("a file of ", size, " ", what),
      size == 0 ? "Send a file with cells and genes." : "Split the file into smaller ones.");
}

}  // namespace

absl::Status CheckCellNames(const std::vector<std::string>& names) {
  absl::flat_hash_set<absl::string_view> seen;
  seen.reserve(names.size());
  int64_t repeats = 0;
  const std::string* first = nullptr;
  for (const std::string& name : names) {
    if (seen.insert(name).second) continue;
    if (repeats++ == 0) first = &name;
  }
  if (repeats == 0) return absl::OkStatus();
  return InvalidField(
      "obs_names",
      absl::StrCat(repeats, " of ", names.size(),
                   " cell names repeat an earlier one, the first of them \"", *first, "\""),
      "Make them unique (in scanpy: adata.obs_names_make_unique()).");
}

absl::Status CheckCellCount(const std::string& field, int64_t cells) {
  return CheckSize(field, "cells", cells, kMostCells);
}

absl::Status CheckGeneCount(const std::string& field, int64_t genes) {
  return CheckSize(field, "genes", genes, kMostGenes);
}

absl::Status CheckOnlyX(const MatrixSource& source) {
  if (source.path == "X") return absl::OkStatus();
  return InvalidField(source.path, "the file has no such matrix",
                      "A file of this format holds one matrix, X: leave out --layer and --raw.");
}

absl::Status CheckMaxRows(int64_t max_rows) {
  if (max_rows > 0) return absl::OkStatus();
  return InvalidField("max_rows", absl::StrCat(max_rows), "Ask for at least one row.");
}

int64_t CountMatches(std::span<const std::string> reference_genes,
                     std::span<const std::string> names) {
  absl::flat_hash_set<absl::string_view> wanted;
  wanted.reserve(reference_genes.size());
  for (const std::string& gene : reference_genes) wanted.insert(gene);
  int64_t matches = 0;
  for (const std::string& name : names) matches += static_cast<int64_t>(wanted.erase(name));
  return matches;
}

}  // namespace portolan
