#include "core/io/old_layout.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/io/dataframe.h"
#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5_write.h"

namespace portolan::h5ad {
namespace {

using hdf5::Dataset;
using hdf5::Handle;
using hdf5::ObjectKind;
using hdf5::ValueKind;

constexpr char kOldCategories[] = "__categories";
constexpr char kVersion[] = "0.2.0";

// Paths of the groups that hold a `__categories` group.
std::set<std::string> OldDataframes(const Handle& file) {
  std::set<std::string> out;
  const auto note = [](hid_t, const char* name, const H5O_info_t* info, void* found) -> herr_t {
    const absl::string_view path(name);
    const std::string tail = absl::StrCat("/", kOldCategories);
    if (info->type == H5O_TYPE_GROUP && absl::EndsWith(path, tail)) {
      static_cast<std::set<std::string>*>(found)->emplace(
          path.substr(0, path.size() - tail.size()));
    }
    return 0;
  };
  H5Ovisit2(file.id(), H5_INDEX_NAME, H5_ITER_INC, note, &out, H5O_INFO_BASIC);
  return out;
}

absl::Status EncodeAsArray(const Handle& group, const std::string& name, ValueKind kind) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle dataset, hdf5::OpenObject(group, name));
  return SetEncoding(dataset, kind == ValueKind::kString ? "string-array" : "array", kVersion);
}

// The categories keep their type (text, numbers); only a lone scalar becomes a list.
absl::Status WriteCategorical(const Handle& group, const std::string& name,
                              const Dataframe::Categorical& categorical) {
  const Dataset& categories = categorical.categories;
  PORTOLAN_ASSIGN_OR_RETURN(
      const Handle column,
      WriteCodes(group, name, categorical.codes, categories.size(), categorical.ordered));
  if (categories.type.kind == ValueKind::kString) {
    PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, hdf5::ReadStrings(categories));
    return WriteStringArray(column, "categories", names);
  }
  PORTOLAN_RETURN_IF_ERROR(hdf5::CopyObject(*categories.handle, column, "categories"));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle copied, hdf5::OpenObject(column, "categories"));
  PORTOLAN_RETURN_IF_ERROR(hdf5::RemoveAttribute(copied, "ordered"));
  return SetEncoding(copied, "array", kVersion);
}

// A dataframe of 0.7: its columns become what they would be today, in place.
absl::Status ModerniseGroup(const Dataframe& original, const Handle& group) {
  std::vector<std::string> names = original.columns();
  names.push_back(original.index_name());
  for (const std::string& name : names) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto categorical, original.ReadCategorical(name));
    if (categorical.has_value()) {
      PORTOLAN_RETURN_IF_ERROR(WriteCategorical(group, name, *categorical));
    } else if (hdf5::KindOf(group, name) == ObjectKind::kDataset) {
      PORTOLAN_ASSIGN_OR_RETURN(const Dataset column, original.ColumnDataset(name));
      PORTOLAN_RETURN_IF_ERROR(EncodeAsArray(group, name, column.type.kind));
    }
  }
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(group, kOldCategories));
  return SetEncoding(group, "dataframe", kVersion);
}

// A compound dataframe: written anew as a group. Categories are taken out of uns, as anndata does.
absl::Status ModerniseCompound(const Dataframe& original, const Handle& copy,
                               const std::string& name) {
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(copy, name));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::CreateGroup(copy, name));
  PORTOLAN_RETURN_IF_ERROR(SetEncoding(group, "dataframe", kVersion));
  PORTOLAN_RETURN_IF_ERROR(hdf5::SetAttribute(group, "_index", original.index_name()));
  PORTOLAN_RETURN_IF_ERROR(hdf5::SetAttribute(group, "column-order", original.columns()));
  PORTOLAN_RETURN_IF_ERROR(WriteStringArray(group, original.index_name(), original.index()));
  for (const std::string& column : original.columns()) {
    PORTOLAN_ASSIGN_OR_RETURN(const auto categorical, original.ReadCategorical(column));
    PORTOLAN_ASSIGN_OR_RETURN(const Dataset values, original.ColumnDataset(column));
    if (categorical.has_value()) {
      PORTOLAN_RETURN_IF_ERROR(WriteCategorical(group, column, *categorical));
      PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(copy, absl::StrCat("uns/", column, "_categories")));
    } else if (values.type.kind == ValueKind::kString) {
      PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> texts, hdf5::ReadStrings(values));
      PORTOLAN_RETURN_IF_ERROR(WriteStringArray(group, column, texts));
    } else {
      PORTOLAN_ASSIGN_OR_RETURN(const Handle written, hdf5::WriteMember(values, group, column));
      PORTOLAN_RETURN_IF_ERROR(SetEncoding(written, "array", kVersion));
    }
  }
  return absl::OkStatus();
}

// obsm or varm as one compound dataset with an array per member.
absl::Status ModerniseArrays(const Handle& original, const Handle& copy, const std::string& name) {
  PORTOLAN_ASSIGN_OR_RETURN(const Dataset compound, hdf5::OpenDataset(original, name, name));
  if (compound.type.kind != ValueKind::kCompound) return absl::OkStatus();
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> members, hdf5::Members(compound));
  PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(copy, name));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle group, OpenOrCreateDict(copy, name));
  for (const std::string& key : members) {
    PORTOLAN_ASSIGN_OR_RETURN(const Dataset member, hdf5::Member(compound, key));
    PORTOLAN_ASSIGN_OR_RETURN(const Handle written, hdf5::WriteMember(member, group, key));
    PORTOLAN_RETURN_IF_ERROR(SetEncoding(written, "array", kVersion));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ModerniseLayout(const Handle& original, const Handle& copy) {
  const hdf5::Gate gate;
  std::set<std::string> dataframes = OldDataframes(original);
  dataframes.insert({"obs", "var"});
  for (const std::string& path : dataframes) {
    if (hdf5::KindOf(copy, path) == ObjectKind::kAbsent) continue;
    PORTOLAN_ASSIGN_OR_RETURN(const Dataframe dataframe, Dataframe::Open(original, path));
    if (dataframe.layout() == Dataframe::Layout::kCompound) {
      PORTOLAN_RETURN_IF_ERROR(ModerniseCompound(dataframe, copy, path));
    } else if (dataframe.layout() == Dataframe::Layout::kOldCategories) {
      PORTOLAN_ASSIGN_OR_RETURN(const Handle group, hdf5::OpenGroup(copy, path, path));
      PORTOLAN_RETURN_IF_ERROR(ModerniseGroup(dataframe, group));
    }
  }
  for (const char* name : {"obsm", "varm"}) {
    if (hdf5::KindOf(copy, name) == ObjectKind::kDataset) {
      PORTOLAN_RETURN_IF_ERROR(ModerniseArrays(original, copy, name));
    }
  }
  return absl::OkStatus();
}

}  // namespace portolan::h5ad
