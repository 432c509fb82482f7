#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/hdf5.h"
#include "core/io/query_reader.h"

namespace portolan {

/// A dataframe of an h5ad file (obs, var, raw/var), in any of the layouts anndata ever wrote:
/// today's group of encoded columns, 0.7's group whose categories live in `__categories`, and the
/// compound dataset before 0.7, whose categories live in uns. Holds the file's handles: not
/// thread-safe, and outlived by the file.
class Dataframe {
 public:
  enum class Layout { kEncoded, kOldCategories, kCompound };

  /// Errors: InvalidField(path).
  static absl::StatusOr<Dataframe> Open(const hdf5::Handle& file, const std::string& path);

  Layout layout() const { return layout_; }
  int64_t rows() const { return rows_; }
  const std::string& index_name() const { return index_name_; }
  const std::vector<std::string>& index() const { return index_; }      ///< the row names
  const std::vector<std::string>& columns() const { return columns_; }  ///< without the index

  /// One column as text. Error: InvalidField(path) naming the columns that exist.
  absl::StatusOr<ObsColumn> Column(const std::string& name) const;

  /// A column's codes and categories, where it is a categorical.
  struct Categorical {
    std::vector<int32_t> codes;  ///< -1 for missing; checked against the number of categories
    hdf5::Dataset categories;
    bool ordered = false;
  };
  absl::StatusOr<std::optional<Categorical>> ReadCategorical(const std::string& name) const;

  /// The dataset behind a column that is one (not a categorical or nullable group).
  absl::StatusOr<hdf5::Dataset> ColumnDataset(const std::string& name) const;

 private:
  absl::Status OpenGroupLayout(const hdf5::Handle& file);
  absl::Status OpenCompoundLayout(const hdf5::Handle& file);
  absl::Status ReadIndex();
  absl::StatusOr<ObsColumn> ReadColumn(const std::string& name) const;
  absl::StatusOr<ObsColumn> ReadNullable(const hdf5::Handle& column,
                                         const std::string& field) const;
  absl::StatusOr<std::optional<hdf5::Dataset>> CategoriesOf(const std::string& name,
                                                            const hdf5::Dataset& codes) const;

  std::string path_;
  Layout layout_ = Layout::kEncoded;
  int64_t rows_ = -1;  // unknown until the index is read
  std::string index_name_;
  std::vector<std::string> index_;
  std::vector<std::string> columns_;
  hdf5::Handle group_;      // of the two group layouts
  hdf5::Dataset compound_;  // of the compound layout
  hdf5::Handle uns_;        // where the compound layout keeps categories; may be invalid
};

/// A one-dimensional dataset of text, numbers or booleans as text; NaN becomes empty.
absl::StatusOr<ObsColumn> ReadAsText(const hdf5::Dataset& dataset);

}  // namespace portolan
