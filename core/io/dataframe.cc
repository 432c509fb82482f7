#include "core/io/dataframe.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/python_text.h"

namespace portolan {
namespace {

using hdf5::Dataset;
using hdf5::Handle;
using hdf5::ObjectKind;
using hdf5::ValueKind;

constexpr char kOldCategories[] = "__categories";
constexpr size_t kNamesShown = 30;
constexpr char kWriteAgain[] = "Write the file again with anndata (adata.write_h5ad).";

absl::Status CheckLength(const Dataset& dataset, int64_t rows) {
  if (dataset.shape.size() == 1 && dataset.shape[0] == rows) return absl::OkStatus();
  return InvalidField(dataset.field,
                      absl::StrCat("a column of shape (", absl::StrJoin(dataset.shape, ", "),
                                   ") for ", rows, " rows"),
                      kWriteAgain);
}

template <typename T>
absl::StatusOr<ObsColumn> NumbersAsText(const Dataset& dataset) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<T> numbers, hdf5::ReadAll<T>(dataset));
  ObsColumn out;
  out.values.reserve(numbers.size());
  for (const T number : numbers) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(number)) {
        out.values.emplace_back(std::nullopt);
        continue;
      }
    }
    out.values.emplace_back(PythonText(number));
  }
  return out;
}

absl::StatusOr<ObsColumn> BooleansAsText(const Dataset& dataset) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int32_t> numbers, hdf5::ReadAll<int32_t>(dataset));
  ObsColumn out;
  for (const int32_t number : numbers) out.values.emplace_back(PythonText(number != 0));
  return out;
}

}  // namespace

absl::StatusOr<ObsColumn> ReadAsText(const Dataset& dataset) {
  if (dataset.shape.size() > 1) return CheckLength(dataset, dataset.shape[0]);
  switch (dataset.type.kind) {
    case ValueKind::kString: {
      PORTOLAN_ASSIGN_OR_RETURN(std::vector<std::string> texts, hdf5::ReadStrings(dataset));
      ObsColumn out;
      out.values.assign(std::make_move_iterator(texts.begin()),
                        std::make_move_iterator(texts.end()));
      return out;
    }
    case ValueKind::kBoolean:
      return BooleansAsText(dataset);
    case ValueKind::kInteger:
      if (!dataset.type.is_signed && dataset.type.bytes == sizeof(uint64_t)) {
        return NumbersAsText<uint64_t>(dataset);
      }
      return NumbersAsText<int64_t>(dataset);
    case ValueKind::kFloat:
      return dataset.type.bytes <= sizeof(float) ? NumbersAsText<float>(dataset)
                                                 : NumbersAsText<double>(dataset);
    default:
      return InvalidField(dataset.field, "neither text nor numbers",
                          "Store the column as strings, categories, numbers or booleans.");
  }
}

absl::StatusOr<Dataframe> Dataframe::Open(const Handle& file, const std::string& path) {
  const hdf5::Gate gate;
  Dataframe out;
  out.path_ = path;
  if (hdf5::KindOf(file, path) == ObjectKind::kDataset) {
    PORTOLAN_RETURN_IF_ERROR(out.OpenCompoundLayout(file));
  } else {
    PORTOLAN_RETURN_IF_ERROR(out.OpenGroupLayout(file));
  }
  return out;
}

absl::Status Dataframe::OpenGroupLayout(const Handle& file) {
  PORTOLAN_ASSIGN_OR_RETURN(group_, hdf5::OpenGroup(file, path_, path_));
  if (hdf5::KindOf(group_, kOldCategories) == ObjectKind::kGroup ||
      hdf5::StringAttribute(group_, "encoding-version") == "0.1.0") {
    layout_ = Layout::kOldCategories;
  }
  index_name_ = hdf5::StringAttribute(group_, "_index").value_or("");
  for (const char* usual : {"_index", "index"}) {
    if (index_name_.empty() && hdf5::KindOf(group_, usual) != ObjectKind::kAbsent) {
      index_name_ = usual;
    }
  }
  auto order = hdf5::StringsAttribute(group_, "column-order");
  if (!order.has_value()) {
    PORTOLAN_ASSIGN_OR_RETURN(order, hdf5::Children(group_));
  }
  for (std::string& name : *order) {
    if (name != index_name_ && name != kOldCategories) columns_.push_back(std::move(name));
  }
  if (index_name_.empty()) return InvalidField(path_, "a dataframe without an index", kWriteAgain);
  return ReadIndex();
}

absl::Status Dataframe::OpenCompoundLayout(const Handle& file) {
  layout_ = Layout::kCompound;
  PORTOLAN_ASSIGN_OR_RETURN(compound_, hdf5::OpenDataset(file, path_, path_));
  if (compound_.type.kind != ValueKind::kCompound || compound_.shape.size() != 1) {
    return InvalidField(path_, "a dataset that is no dataframe", kWriteAgain);
  }
  PORTOLAN_ASSIGN_OR_RETURN(columns_, hdf5::Members(compound_));
  if (columns_.empty()) return InvalidField(path_, "a dataframe without an index", kWriteAgain);
  index_name_ = columns_.front();
  columns_.erase(columns_.begin());
  if (hdf5::KindOf(file, "uns") == ObjectKind::kGroup) {
    PORTOLAN_ASSIGN_OR_RETURN(uns_, hdf5::OpenGroup(file, "uns", "uns"));
  }
  return ReadIndex();
}

absl::Status Dataframe::ReadIndex() {
  PORTOLAN_ASSIGN_OR_RETURN(ObsColumn column, ReadColumn(index_name_));
  index_.reserve(column.values.size());
  for (auto& value : column.values) {
    if (!value.has_value()) {
      return InvalidField(path_, absl::StrCat("a missing row name at row ", index_.size()),
                          "Give every row a name of its own.");
    }
    index_.push_back(*std::move(value));
  }
  rows_ = static_cast<int64_t>(index_.size());
  return absl::OkStatus();
}

absl::StatusOr<ObsColumn> Dataframe::Column(const std::string& name) const {
  if (name == index_name_ || std::find(columns_.begin(), columns_.end(), name) != columns_.end()) {
    return ReadColumn(name);
  }
  const auto shown = columns_.begin() + std::min(columns_.size(), kNamesShown);
  return InvalidField(
      path_, absl::StrCat("no column ", name),
      columns_.empty()
          ? "The file has no columns there."
          : absl::StrCat("The file has: ", absl::StrJoin(columns_.begin(), shown, ", "),
                         shown == columns_.end() ? "." : ", ..."));
}

absl::StatusOr<Dataset> Dataframe::ColumnDataset(const std::string& name) const {
  if (layout_ == Layout::kCompound) return hdf5::Member(compound_, name);
  return hdf5::OpenDataset(group_, name, absl::StrCat(path_, "/", name));
}

absl::StatusOr<ObsColumn> Dataframe::ReadColumn(const std::string& name) const {
  const hdf5::Gate gate;
  PORTOLAN_ASSIGN_OR_RETURN(const auto categorical, ReadCategorical(name));
  if (categorical.has_value()) {
    PORTOLAN_ASSIGN_OR_RETURN(const ObsColumn categories, ReadAsText(categorical->categories));
    ObsColumn out;
    out.values.reserve(categorical->codes.size());
    for (const int32_t code : categorical->codes) {
      out.values.push_back(code < 0 ? std::nullopt : categories.values[code]);
    }
    return out;
  }
  if (layout_ != Layout::kCompound && hdf5::KindOf(group_, name) == ObjectKind::kGroup) {
    const std::string field = absl::StrCat(path_, "/", name);
    PORTOLAN_ASSIGN_OR_RETURN(const Handle column, hdf5::OpenGroup(group_, name, field));
    return ReadNullable(column, field);
  }
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset dataset, ColumnDataset(name));
  if (dataset.shape.size() != 1 || (rows_ >= 0 && dataset.shape[0] != rows_)) {
    return CheckLength(dataset, rows_);
  }
  return ReadAsText(dataset);
}

// nullable-integer, nullable-boolean, nullable-string-array: values, and a mask of missing ones.
absl::StatusOr<ObsColumn> Dataframe::ReadNullable(const Handle& column,
                                                  const std::string& field) const {
  if (hdf5::KindOf(column, "values") != ObjectKind::kDataset ||
      hdf5::KindOf(column, "mask") != ObjectKind::kDataset) {
    return InvalidField(
        field,
        absl::StrCat("a column encoded as ",
                     hdf5::StringAttribute(column, "encoding-type").value_or("something unknown")),
        "Store the column as strings, categories, numbers or booleans.");
  }
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset values, hdf5::OpenDataset(column, "values", field));
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset mask, hdf5::OpenDataset(column, "mask", field));
  const int64_t rows = rows_ >= 0 ? rows_ : values.size();
  PORTOLAN_RETURN_IF_ERROR(CheckLength(values, rows));
  PORTOLAN_RETURN_IF_ERROR(CheckLength(mask, rows));
  PORTOLAN_ASSIGN_OR_RETURN(ObsColumn out, ReadAsText(values));
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int32_t> missing, hdf5::ReadAll<int32_t>(mask));
  for (size_t i = 0; i < missing.size(); ++i) {
    if (missing[i] != 0) out.values[i] = std::nullopt;
  }
  return out;
}

// Where the two old layouts keep a column's categories; none where the column has none.
absl::StatusOr<std::optional<Dataset>> Dataframe::CategoriesOf(const std::string& name,
                                                               const Dataset& codes) const {
  const std::string field = absl::StrCat(path_, "/", name);
  if (codes.type.kind != ValueKind::kInteger) return std::nullopt;
  if (layout_ == Layout::kCompound) {
    const std::string key = absl::StrCat(name, "_categories");
    if (!uns_.valid() || hdf5::KindOf(uns_, key) != ObjectKind::kDataset) return std::nullopt;
    PORTOLAN_ASSIGN_OR_RETURN(Dataset out, hdf5::OpenDataset(uns_, key, field));
    return out;
  }
  if (!hdf5::HasAttribute(*codes.handle, "categories")) return std::nullopt;
  auto referenced = hdf5::OpenReferenced(*codes.handle, "categories", field);
  if (referenced.ok()) return *std::move(referenced);
  PORTOLAN_ASSIGN_OR_RETURN(
      Dataset out, hdf5::OpenDataset(group_, absl::StrCat(kOldCategories, "/", name), field));
  return out;
}

absl::StatusOr<std::optional<Dataframe::Categorical>> Dataframe::ReadCategorical(
    const std::string& name) const {
  const hdf5::Gate gate;
  const std::string field = absl::StrCat(path_, "/", name);
  Categorical out;
  std::optional<Dataset> codes;
  if (layout_ != Layout::kCompound && hdf5::KindOf(group_, name) == ObjectKind::kGroup) {
    PORTOLAN_ASSIGN_OR_RETURN(const Handle column, hdf5::OpenGroup(group_, name, field));
    if (hdf5::KindOf(column, "codes") == ObjectKind::kAbsent) return std::nullopt;
    PORTOLAN_ASSIGN_OR_RETURN(codes, hdf5::OpenDataset(column, "codes", field));
    PORTOLAN_ASSIGN_OR_RETURN(out.categories, hdf5::OpenDataset(column, "categories", field));
    const auto ordered = hdf5::IntegersAttribute(column, "ordered");
    out.ordered = ordered.has_value() && ordered->size() == 1 && ordered->front() != 0;
  } else {
    PORTOLAN_ASSIGN_OR_RETURN(codes, ColumnDataset(name));
    PORTOLAN_ASSIGN_OR_RETURN(const auto categories, CategoriesOf(name, *codes));
    if (!categories.has_value()) return std::nullopt;
    out.categories = *categories;
    const auto ordered = hdf5::IntegersAttribute(*categories->handle, "ordered");
    out.ordered = ordered.has_value() && ordered->size() == 1 && ordered->front() != 0;
  }
  PORTOLAN_RETURN_IF_ERROR(CheckLength(*codes, rows_ >= 0 ? rows_ : codes->size()));
  if (codes->type.kind != ValueKind::kInteger || out.categories.shape.size() > 1) {
    return InvalidField(field, "a damaged categorical column", kWriteAgain);
  }
  PORTOLAN_ASSIGN_OR_RETURN(out.codes, hdf5::ReadAll<int32_t>(*codes));
  const int64_t count = out.categories.size();
  for (const int32_t code : out.codes) {
    if (code >= -1 && code < count) continue;
    // Before 0.7 a column that merely shares the name is no categorical.
    if (layout_ == Layout::kCompound) return std::nullopt;
    return InvalidField(field, absl::StrCat("the code ", code, " of ", count, " categories"),
                        kWriteAgain);
  }
  return out;
}

}  // namespace portolan
