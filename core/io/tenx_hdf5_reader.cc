#include "core/io/tenx_hdf5_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/count_matrix.h"
#include "core/io/protein_blocks.h"
#include "core/io/query_checks.h"
#include "core/io/tenx_features.h"
#include "core/matrix/count_check.h"

namespace portolan {
namespace {

using hdf5::Handle;
using hdf5::ObjectKind;

constexpr char kMatrix[] = "matrix";
constexpr char kCountRemedy[] = "Send the matrix as Cell Ranger wrote it, with raw counts.";

// One matrix of a file: cells and features, not yet the counts.
struct Part {
  std::string group;
  std::vector<std::string> cells;
  TenxFeatures features;
};

class TenxHdf5Reader : public QueryReader {
 public:
  TenxHdf5Reader(Handle file, Part part) : file_(std::move(file)), part_(std::move(part)) {}

  const std::vector<std::string>& cell_names() const override { return part_.cells; }
  absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource& source) override {
    PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
    return part_.features.genes();
  }

  absl::Status ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                          int64_t max_rows, const CancelToken& cancel,
                          const BlockSink& sink) override {
    PORTOLAN_RETURN_IF_ERROR(CheckOnlyX(source));
    PORTOLAN_ASSIGN_OR_RETURN(const auto columns, part_.features.GeneColumns(alignment));
    return Read({columns, alignment.reference_genes()}, kCountRemedy, max_rows, cancel, sink);
  }

  std::string DeclaredProteins() const override { return part_.features.DeclaredProteins(); }
  absl::StatusOr<std::vector<std::string>> ProteinNames(const ProteinSource& source) override {
    return part_.features.ProteinNames(source);
  }
  absl::Status ReadProteins(const ProteinSource& source, const ProteinAlignment& alignment,
                            int64_t max_rows, const CancelToken& cancel,
                            const ProteinSink& sink) override {
    PORTOLAN_ASSIGN_OR_RETURN(const auto columns, part_.features.ProteinColumns(source, alignment));
    return Read({columns, alignment.reference_proteins()}, kProteinRemedy, max_rows, cancel,
                DenseProteins(sink));
  }

 private:
  absl::Status Read(const ColumnMap& columns, const char* remedy, int64_t max_rows,
                    const CancelToken& cancel, const BlockSink& sink) {
    PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::OpenGroup(file_, part_.group, part_.group));
    PORTOLAN_ASSIGN_OR_RETURN(
        const CountMatrix matrix,
        CountMatrix::OpenCsr(group, part_.group, static_cast<int64_t>(part_.cells.size()),
                             part_.features.size()));
    const CountCheck check(part_.group, remedy);
    return portolan::ReadCounts(matrix, {columns, check, max_rows, cancel, sink});
  }

  Handle file_;
  Part part_;
};

// Version 2's groups of genomes.
std::vector<std::string> Genomes(const Handle& file) {
  std::vector<std::string> out;
  for (const std::string& name : hdf5::Children(file).value_or(std::vector<std::string>())) {
    const bool parts = hdf5::KindOf(file, absl::StrCat(name, "/genes")) == ObjectKind::kDataset &&
                       hdf5::KindOf(file, absl::StrCat(name, "/indptr")) == ObjectKind::kDataset;
    if (parts) out.push_back(name);
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> Strings(const Handle& group, const std::string& name,
                                                 const std::string& field) {
  PORTOLAN_ASSIGN_OR_RETURN(const hdf5::Dataset dataset,
                            hdf5::OpenDataset(group, name, absl::StrCat(field, "/", name)));
  return hdf5::ReadStrings(dataset);
}

absl::StatusOr<Part> OpenPart(const Handle& file, const std::string& name,
                              std::span<const std::string> reference_genes) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::OpenGroup(file, name, name));
  Part out;
  out.group = name;
  PORTOLAN_ASSIGN_OR_RETURN(out.cells, Strings(group, "barcodes", name));
  PORTOLAN_RETURN_IF_ERROR(
      CheckCellCount(name + "/barcodes", static_cast<int64_t>(out.cells.size())));
  PORTOLAN_RETURN_IF_ERROR(CheckCellNames(out.cells));
  TenxFeatureList list;
  const bool typed = hdf5::KindOf(group, "features") == ObjectKind::kGroup;
  PORTOLAN_ASSIGN_OR_RETURN(list.ids, Strings(group, typed ? "features/id" : "genes", name));
  PORTOLAN_ASSIGN_OR_RETURN(list.names,
                            Strings(group, typed ? "features/name" : "gene_names", name));
  if (typed) {
    PORTOLAN_ASSIGN_OR_RETURN(list.types, Strings(group, "features/feature_type", name));
    if (hdf5::KindOf(group, "features/genome") == ObjectKind::kDataset) {
      PORTOLAN_ASSIGN_OR_RETURN(list.genomes, Strings(group, "features/genome", name));
    }
  } else {
    list.genomes.assign(list.ids.size(), name);
  }
  PORTOLAN_ASSIGN_OR_RETURN(
      out.features, TenxFeatures::Create(std::move(list), reference_genes,
                                         absl::StrCat(name, typed ? "/features" : "/genes")));
  return out;
}

absl::StatusOr<Part> BestGenome(const Handle& file, const std::vector<std::string>& genomes,
                                std::span<const std::string> reference_genes) {
  PORTOLAN_ASSIGN_OR_RETURN(Part best, OpenPart(file, genomes[0], reference_genes));
  bool tied = false;
  for (size_t i = 1; i < genomes.size(); ++i) {
    PORTOLAN_ASSIGN_OR_RETURN(Part next, OpenPart(file, genomes[i], reference_genes));
    const int64_t lead = next.features.matches() - best.features.matches();
    if (lead >= 0) tied = lead == 0;
    if (lead > 0) best = std::move(next);
  }
  if (!tied) return best;
  return InvalidField("file",
                      absl::StrCat("holds several genomes (", absl::StrJoin(genomes, ", "),
                                   "), none of which fits the reference best"),
                      "Send the cells of one genome, that of the reference.");
}

}  // namespace

bool IsTenxHdf5(const Handle& file) {
  const hdf5::Gate gate;
  return hdf5::KindOf(file, absl::StrCat(kMatrix, "/features")) == ObjectKind::kGroup ||
         !Genomes(file).empty();
}

absl::StatusOr<std::unique_ptr<QueryReader>> OpenTenxHdf5(
    Handle file, std::span<const std::string> reference_genes) {
  const hdf5::Gate gate;
  std::vector<std::string> groups = {kMatrix};
  if (hdf5::KindOf(file, absl::StrCat(kMatrix, "/features")) != ObjectKind::kGroup) {
    groups = Genomes(file);
  }
  if (groups.empty()) {
    return InvalidField("file", "is no matrix of Cell Ranger",
                        "Send filtered_feature_bc_matrix.h5 or an h5ad file.");
  }
  PORTOLAN_ASSIGN_OR_RETURN(Part part, BestGenome(file, groups, reference_genes));
  return std::make_unique<TenxHdf5Reader>(std::move(file), std::move(part));
}

}  // namespace portolan
