#include "core/io/h5ad_reader.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/count_matrix.h"
#include "core/io/dataframe.h"
#include "core/io/h5ad_proteins.h"
#include "core/io/hdf5.h"
#include "core/io/query_checks.h"

namespace portolan {
namespace {

using hdf5::Handle;
using hdf5::ObjectKind;

class H5adReader : public QueryReader {
 public:
  H5adReader(Handle file, Dataframe obs) : file_(std::move(file)), obs_(std::move(obs)) {}

  bool IsH5ad() const override { return true; }
  const std::vector<std::string>& cell_names() const override { return obs_.index(); }
  std::vector<std::string> ObsColumnNames() const override { return obs_.columns(); }
  absl::StatusOr<ObsColumn> ReadObs(const std::string& column) override {
    return obs_.Column(column);
  }

  absl::StatusOr<std::vector<std::string>> GeneNames(const MatrixSource& source) override;
  absl::Status ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                          int64_t max_rows, const CancelToken& cancel,
                          const BlockSink& sink) override;

  absl::StatusOr<std::vector<std::string>> ProteinNames(const ProteinSource& source) override {
    return h5ad::ProteinNames(file_, obs_.rows(), source);
  }
  absl::Status ReadProteins(const ProteinSource& source, const ProteinAlignment& alignment,
                            int64_t max_rows, const CancelToken& cancel,
                            const ProteinSink& sink) override {
    return h5ad::ReadProteins(file_, obs_.rows(), {source, alignment, max_rows, cancel, sink});
  }

 private:
  // Where a source's matrix and its genes stand in the file.
  struct Location {
    std::string matrix;
    std::string genes;
  };
  absl::StatusOr<Location> Locate(const MatrixSource& source) const;
  std::vector<std::string> Matrices() const;

  Handle file_;
  Dataframe obs_;
};

std::vector<std::string> H5adReader::Matrices() const {
  std::vector<std::string> out;
  if (hdf5::KindOf(file_, "X") != ObjectKind::kAbsent) out.emplace_back("X");
  if (auto layers = hdf5::OpenGroup(file_, "layers", "layers"); layers.ok()) {
    for (const std::string& name : hdf5::Children(*layers).value_or(std::vector<std::string>())) {
      out.push_back(absl::StrCat("layers/", name));
    }
  }
  for (const char* raw : {"raw/X", "raw.X"}) {
    if (hdf5::KindOf(file_, raw) != ObjectKind::kAbsent) {
      out.emplace_back("raw/X");
      break;
    }
  }
  return out;
}

absl::StatusOr<H5adReader::Location> H5adReader::Locate(const MatrixSource& source) const {
  const hdf5::Gate gate;
  const std::string& path = source.path;
  Location out{path, "var"};
  if (path == "raw/X") {
    out = {"raw/X", "raw/var"};
    // anndata before 0.7
    if (hdf5::KindOf(file_, "raw") == ObjectKind::kAbsent) out = {"raw.X", "raw.var"};
  } else if (path != "X" && !absl::StartsWith(path, "layers/")) {
    return InvalidField("counts", absl::StrCat("the matrix \"", path, "\""),
                        "Name X, layers/NAME or raw/X.");
  }
  if (hdf5::KindOf(file_, out.matrix) != ObjectKind::kAbsent) return out;
  const std::vector<std::string> matrices = Matrices();
  return InvalidField(path, "the file has no such matrix",
                      matrices.empty()
                          ? "It holds no matrix at all: store the counts in X or in a layer."
                          : absl::StrCat("It has: ", absl::StrJoin(matrices, ", "), "."));
}

absl::StatusOr<std::vector<std::string>> H5adReader::GeneNames(const MatrixSource& source) {
  PORTOLAN_ASSIGN_OR_RETURN(const Location location, Locate(source));
  PORTOLAN_ASSIGN_OR_RETURN(const Dataframe var, Dataframe::Open(file_, location.genes));
  PORTOLAN_RETURN_IF_ERROR(CheckGeneCount(location.genes, var.rows()));
  return var.index();
}

absl::Status H5adReader::ReadCounts(const MatrixSource& source, const GeneAlignment& alignment,
                                    int64_t max_rows, const CancelToken& cancel,
                                    const BlockSink& sink) {
  PORTOLAN_ASSIGN_OR_RETURN(const Location location, Locate(source));
  PORTOLAN_ASSIGN_OR_RETURN(const Dataframe var, Dataframe::Open(file_, location.genes));
  PORTOLAN_ASSIGN_OR_RETURN(
      const CountMatrix matrix,
      CountMatrix::Open(file_, location.matrix, source.path, obs_.rows(), var.rows()));
  const CountCheck check(source.path);
  return portolan::ReadCounts(matrix, {{alignment.reference_columns(), alignment.reference_genes()},
                                       check,
                                       max_rows,
                                       cancel,
                                       sink});
}

}  // namespace

absl::StatusOr<std::unique_ptr<QueryReader>> OpenH5ad(Handle file, const std::string& path) {
  const hdf5::Gate gate;
  for (const char* part : {"obs", "var"}) {
    if (hdf5::KindOf(file, part) == ObjectKind::kAbsent) {
      return InvalidField(
          "file",
          absl::StrCat(path, " is HDF5, but neither a 10x matrix nor h5ad: it has no ", part),
          "Read it with scanpy and write it as h5ad (adata.write_h5ad).");
    }
  }
  PORTOLAN_ASSIGN_OR_RETURN(Dataframe obs, Dataframe::Open(file, "obs"));
  PORTOLAN_RETURN_IF_ERROR(CheckCellCount("obs", obs.rows()));
  PORTOLAN_RETURN_IF_ERROR(CheckCellNames(obs.index()));
  return std::make_unique<H5adReader>(std::move(file), std::move(obs));
}

}  // namespace portolan
