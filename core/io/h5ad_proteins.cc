#include "core/io/h5ad_proteins.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/count_matrix.h"
#include "core/io/dataframe.h"
#include "core/io/protein_blocks.h"
#include "core/matrix/count_check.h"

namespace portolan::h5ad {
namespace {

using hdf5::Dataset;
using hdf5::Handle;
using hdf5::ObjectKind;
using hdf5::ValueKind;

constexpr char kField[] = "proteins";
constexpr size_t kNamesShown = 20;

std::string Path(const ProteinSource& source) { return absl::StrCat("obsm/", source.key); }

std::vector<std::string> ChildrenOf(const Handle& file, const char* group) {
  const auto handle = hdf5::OpenGroup(file, group, group);
  if (!handle.ok()) return {};
  auto names = hdf5::Children(*handle).value_or(std::vector<std::string>());
  if (names.size() > kNamesShown) names.resize(kNamesShown);
  return names;
}

absl::Status NoSuchKey(const Handle& file, const ProteinSource& source) {
  const std::vector<std::string> keys = ChildrenOf(file, "obsm");
  return InvalidField(kField, absl::StrCat("obsm has no element '", source.key, "'"),
                      keys.empty() ? "The file's obsm is empty: store the protein counts there."
                                   : absl::StrCat("It has: ", absl::StrJoin(keys, ", "), "."));
}

bool IsFrame(const Handle& file, const std::string& path) {
  if (hdf5::KindOf(file, path) != ObjectKind::kGroup) return false;
  const auto group = hdf5::OpenGroup(file, path, path);
  return group.ok() && hdf5::StringAttribute(*group, "encoding-type") == "dataframe";
}

absl::StatusOr<Dataframe> OpenFrame(const Handle& file, int64_t cells, const std::string& path) {
  PORTOLAN_ASSIGN_OR_RETURN(Dataframe frame, Dataframe::Open(file, path));
  if (frame.rows() == cells) return frame;
  return InvalidField(
      path, absl::StrCat("a data frame of ", frame.rows(), " rows in a file of ", cells, " cells"),
      "Write the file again with anndata (adata.write_h5ad).");
}

// How many columns an array has; -1 for what is no matrix.
int64_t Width(const Handle& file, const std::string& path) {
  std::optional<std::vector<int64_t>> shape;
  if (hdf5::KindOf(file, path) == ObjectKind::kDataset) {
    const auto dataset = hdf5::OpenDataset(file, path, path);
    if (dataset.ok()) shape = dataset->shape;
  } else if (const auto group = hdf5::OpenGroup(file, path, path); group.ok()) {
    shape = hdf5::IntegersAttribute(*group, "shape");
    if (!shape.has_value()) shape = hdf5::IntegersAttribute(*group, "h5sparse_shape");
  }
  return shape.has_value() && shape->size() == 2 ? (*shape)[1] : -1;
}

absl::StatusOr<Dataset> OpenNames(const Handle& file, const std::string& key) {
  PORTOLAN_ASSIGN_OR_RETURN(
      Dataset names, hdf5::OpenDataset(file, absl::StrCat("uns/", key), absl::StrCat("uns/", key)));
  if (names.type.kind == ValueKind::kString && names.shape.size() == 1) return names;
  return InvalidField(absl::StrCat("uns/", key), "no list of names",
                      "Name a list of strings in uns, one for each protein.");
}

// The keys of uns that could name `width` proteins.
std::string Candidates(const Handle& file, int64_t width) {
  std::vector<std::string> out;
  for (const std::string& key : ChildrenOf(file, "uns")) {
    const auto names = OpenNames(file, key);
    if (names.ok() && names->shape[0] == width) out.push_back(key);
  }
  return out.empty() ? absl::StrCat("uns has no list of ", width,
                                    " names: add one, or store the "
                                    "proteins as a data frame whose columns are their names.")
                     : absl::StrCat("Name the key of uns that holds the names (it could be ",
                                    absl::StrJoin(out, ", "), ").");
}

absl::StatusOr<std::vector<std::string>> ArrayNames(const Handle& file,
                                                    const ProteinSource& source) {
  const int64_t width = Width(file, Path(source));
  if (width < 0) {
    return InvalidField(kField, absl::StrCat(Path(source), " is no matrix"),
                        "Name an array or a data frame of obsm.");
  }
  if (source.names_key.empty()) {
    return InvalidField(kField, absl::StrCat(Path(source), " is an array, without names"),
                        Candidates(file, width));
  }
  if (hdf5::KindOf(file, absl::StrCat("uns/", source.names_key)) == ObjectKind::kAbsent) {
    return InvalidField(kField, absl::StrCat("uns has no element '", source.names_key, "'"),
                        Candidates(file, width));
  }
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset names, OpenNames(file, source.names_key));
  if (names.shape[0] != width) {
    return InvalidField(kField,
                        absl::StrCat(names.shape[0], " names in uns/", source.names_key, " for ",
                                     width, " columns of ", Path(source)),
                        Candidates(file, width));
  }
  return hdf5::ReadStrings(names);
}

absl::StatusOr<std::vector<std::pair<Dataset, int32_t>>> MatchedColumns(
    const Dataframe& frame, const ProteinAlignment& alignment) {
  std::vector<std::pair<Dataset, int32_t>> out;
  for (size_t i = 0; i < frame.columns().size(); ++i) {
    const int32_t to = alignment.reference_column(static_cast<int64_t>(i));
    if (to < 0) continue;
    PORTOLAN_ASSIGN_OR_RETURN(Dataset column, frame.ColumnDataset(frame.columns()[i]));
    const ValueKind kind = column.type.kind;
    if (column.shape != std::vector<int64_t>{frame.rows()} ||
        (kind != ValueKind::kInteger && kind != ValueKind::kFloat)) {
      return InvalidField(column.field, "a column that is not one number per cell", kProteinRemedy);
    }
    out.emplace_back(std::move(column), to);
  }
  return out;
}

absl::Status ReadFrame(const Dataframe& frame, const ReadProteinsRequest& request) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto columns, MatchedColumns(frame, request.alignment));
  const int64_t width = request.alignment.reference_proteins();
  const int64_t step = std::min(request.max_rows, frame.rows());
  std::vector<double> numbers(static_cast<size_t>(step));
  for (int64_t first = 0; first < frame.rows(); first += step) {
    PORTOLAN_RETURN_IF_ERROR(request.cancel.Check());
    const int64_t rows = std::min(step, frame.rows() - first);
    std::vector<float> values(static_cast<size_t>(rows * width), 0.0f);
    for (const auto& [column, to] : columns) {
      const CountCheck check(column.field, kProteinRemedy);
      PORTOLAN_RETURN_IF_ERROR(hdf5::Read(column, first, rows, numbers.data()));
      for (int64_t row = 0; row < rows; ++row) {
        PORTOLAN_RETURN_IF_ERROR(
            check.Check(first + row, std::span<const double>(&numbers[row], 1)));
        values[row * width + to] = static_cast<float>(numbers[row]);
      }
    }
    PORTOLAN_RETURN_IF_ERROR(request.sink(first, std::move(values)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ProteinNames(const Handle& file, int64_t cells,
                                                      const ProteinSource& source) {
  const hdf5::Gate gate;
  const std::string path = Path(source);
  if (hdf5::KindOf(file, path) == ObjectKind::kAbsent) return NoSuchKey(file, source);
  if (!IsFrame(file, path)) return ArrayNames(file, source);
  PORTOLAN_ASSIGN_OR_RETURN(const Dataframe frame, OpenFrame(file, cells, path));
  return frame.columns();
}

absl::Status ReadProteins(const Handle& file, int64_t cells, const ReadProteinsRequest& request) {
  const std::string path = Path(request.source);
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                            ProteinNames(file, cells, request.source));
  const auto width = static_cast<int64_t>(names.size());
  if (request.max_rows < 1 || request.alignment.query_proteins() != width) {
    return InvalidField(
        kField,
        absl::StrCat(width, " proteins, aligned as ", request.alignment.query_proteins(), ", ",
                     request.max_rows, " rows at a time"),
        "Align the proteins of the same matrix, and ask for at least one row.");
  }
  if (IsFrame(file, path)) {
    PORTOLAN_ASSIGN_OR_RETURN(const Dataframe frame, OpenFrame(file, cells, path));
    return ReadFrame(frame, request);
  }
  PORTOLAN_ASSIGN_OR_RETURN(const CountMatrix matrix,
                            CountMatrix::Open(file, path, path, cells, width));
  const CountCheck check(path, kProteinRemedy);
  const ColumnMap columns = {request.alignment.reference_columns(),
                             request.alignment.reference_proteins()};
  const QueryReader::BlockSink sink = DenseProteins(request.sink);
  return ReadCounts(matrix, {columns, check, request.max_rows, request.cancel, sink});
}

}  // namespace portolan::h5ad
