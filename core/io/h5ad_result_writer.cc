#include "core/io/h5ad_result_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/dataframe.h"
#include "core/io/h5ad_encoding.h"
#include "core/io/hdf5_write.h"
#include "core/io/old_layout.h"

namespace portolan {
namespace {

using hdf5::Handle;
using hdf5::ObjectKind;

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

const char* RemedyFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kResourceExhausted:
      return "Free space on that disk and run again.";
    case absl::StatusCode::kPermissionDenied:
      return "Check the permissions of the folder.";
    default:
      return "Check that the folder exists and can be written to.";
  }
}

absl::Status CannotWrite(const std::string& path, int error, const std::string& reason) {
  const absl::StatusCode code = CodeOf(error);
  return FieldError(code, "output", absl::StrCat(path, " cannot be written: ", reason),
                    RemedyFor(code));
}

// Waits until a file's or a folder's bytes are on the disk.
absl::Status Sync(const std::string& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return CannotWrite(path, errno, std::strerror(errno));
  const int result = fsync(descriptor);
  const int error = errno;
  close(descriptor);
  return result == 0 ? absl::OkStatus() : CannotWrite(path, error, std::strerror(error));
}

std::string Folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A name that becomes one link of a group, and no other element's.
absl::Status CheckName(const std::string& field, const std::string& name) {
  if (!name.empty() && name != "." && name.find('/') == std::string::npos &&
      name.find('\0') == std::string::npos) {
    return absl::OkStatus();
  }
  return InvalidField(field, absl::StrCat("the name \"", name, "\""),
                      "Choose a name that is not empty and has no slash.");
}

absl::Status CheckCount(const std::string& field, size_t found, int64_t expected) {
  if (static_cast<int64_t>(found) == expected) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(found, " values where ", expected, " belong"),
                      "Give one row per cell of the query.");
}

absl::Status CheckCategories(const std::string& field, std::span<const int32_t> codes,
                             std::span<const std::string> categories) {
  absl::flat_hash_set<std::string> seen;
  for (const std::string& category : categories) {
    if (!seen.insert(category).second) {
      return InvalidField(field, absl::StrCat("the category \"", category, "\" twice"),
                          "Categories are unique.");
    }
  }
  for (const int32_t code : codes) {
    if (code < -1 || code >= static_cast<int64_t>(categories.size())) {
      return InvalidField(field,
                          absl::StrCat("the code ", code, " of ", categories.size(), " categories"),
                          "Codes run from -1 (missing) to the last category.");
    }
  }
  return absl::OkStatus();
}

// A data frame without columns.
absl::Status WriteFrame(const Handle& file, const std::string& name,
                        std::span<const std::string> index) {
  PORTOLAN_ASSIGN_OR_RETURN(const Handle frame, hdf5::CreateGroup(file, name));
  PORTOLAN_RETURN_IF_ERROR(h5ad::SetEncoding(frame, "dataframe", "0.2.0"));
  PORTOLAN_RETURN_IF_ERROR(hdf5::SetAttribute(frame, "_index", std::string("_index")));
  PORTOLAN_RETURN_IF_ERROR(
      hdf5::SetAttribute(frame, "column-order", std::span<const std::string>()));
  return h5ad::WriteStringArray(frame, "_index", index);
}

bool HoldsCounts(const std::string& name) {
  return name == "X" || name == "layers" || name == "raw" || absl::StartsWith(name, "raw.");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResultWriter>> ResultWriter::Create(
    const std::string& query_path, const std::string& output_path,
    const ResultWriterOptions& options) {
  return H5adResultWriter::Create(query_path, output_path, options);
}

absl::StatusOr<std::unique_ptr<ResultWriter>> ResultWriter::CreateNew(
    std::span<const std::string> cell_names, const std::string& output_path) {
  return H5adResultWriter::CreateNew(cell_names, output_path);
}

absl::StatusOr<std::unique_ptr<ResultWriter>> H5adResultWriter::Create(
    const std::string& query_path, const std::string& output_path,
    const ResultWriterOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(query_path, error)) {
    return FieldError(absl::StatusCode::kNotFound, "file",
                      absl::StrCat(query_path, " does not exist"), "Check the path.");
  }
  PORTOLAN_RETURN_IF_ERROR(CheckOutput(output_path));
  std::unique_ptr<H5adResultWriter> writer(new H5adResultWriter(output_path));
  PORTOLAN_RETURN_IF_ERROR(writer->CopyQuery(query_path, options));
  return writer;
}

absl::StatusOr<std::unique_ptr<ResultWriter>> H5adResultWriter::CreateNew(
    std::span<const std::string> cell_names, const std::string& output_path) {
  const hdf5::Gate gate;
  PORTOLAN_RETURN_IF_ERROR(CheckOutput(output_path));
  std::unique_ptr<H5adResultWriter> writer(new H5adResultWriter(output_path));
  writer->cells_ = static_cast<int64_t>(cell_names.size());
  PORTOLAN_RETURN_IF_ERROR(writer->CreateTemporary());
  PORTOLAN_RETURN_IF_ERROR(writer->Explain(WriteFrame(writer->file_, "obs", cell_names)));
  PORTOLAN_RETURN_IF_ERROR(writer->Explain(WriteFrame(writer->file_, "var", {})));
  PORTOLAN_RETURN_IF_ERROR(writer->AddUsualParts());
  return writer;
}

absl::Status H5adResultWriter::CheckOutput(const std::string& output_path) {
  std::error_code error;
  if (output_path.empty() || std::filesystem::is_directory(output_path, error)) {
    return InvalidField("output", absl::StrCat("\"", output_path, "\" is no name of a file"),
                        "Name the h5ad file to write.");
  }
  if (!std::filesystem::is_directory(Folder(output_path), error)) {
    return CannotWrite(output_path, ENOENT,
                       absl::StrCat("the folder ", Folder(output_path), " does not exist"));
  }
  return absl::OkStatus();
}

H5adResultWriter::H5adResultWriter(std::string output_path) : output_path_(std::move(output_path)) {
  static std::atomic<int> next{0};
  temporary_path_ = absl::StrCat(output_path_, ".partial-", getpid(), "-", next++);
}

H5adResultWriter::~H5adResultWriter() {
  file_.Close();
  std::error_code error;
  if (temporary_exists_) std::filesystem::remove(temporary_path_, error);
}

absl::Status H5adResultWriter::CreateTemporary() {
  // What a killed process of the same number left behind.
  std::error_code error;
  std::filesystem::remove(temporary_path_, error);
  errno = 0;
  auto created = hdf5::CreateFile(temporary_path_);
  if (!created.ok()) {
    return CannotWrite(output_path_, errno, std::string(created.status().message()));
  }
  file_ = *std::move(created);
  temporary_exists_ = true;
  return absl::OkStatus();
}

absl::Status H5adResultWriter::AddUsualParts() {
  for (const char* dict : {"obsm", "uns"}) {
    PORTOLAN_RETURN_IF_ERROR(Explain(h5ad::OpenOrCreateDict(file_, dict).status()));
  }
  return Explain(h5ad::SetEncoding(file_, "anndata", "0.1.0"));
}

absl::Status H5adResultWriter::CopyQuery(const std::string& query_path,
                                         const ResultWriterOptions& options) {
  const hdf5::Gate gate;
  PORTOLAN_ASSIGN_OR_RETURN(const Handle query, hdf5::OpenFile(query_path));
  PORTOLAN_ASSIGN_OR_RETURN(const Dataframe obs, Dataframe::Open(query, "obs"));
  cells_ = obs.rows();
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, hdf5::Children(query));
  PORTOLAN_RETURN_IF_ERROR(CreateTemporary());
  for (const std::string& name : names) {
    if (options.without_counts && HoldsCounts(name)) continue;
    PORTOLAN_RETURN_IF_ERROR(Explain(hdf5::Copy(query, name, file_, name)));
  }
  PORTOLAN_RETURN_IF_ERROR(Explain(h5ad::ModerniseLayout(query, file_)));
  return AddUsualParts();
}

absl::Status H5adResultWriter::WriteObsm(const std::string& name, int64_t width,
                                         std::span<const float> values) {
  const hdf5::Gate gate;
  const std::string field = absl::StrCat("obsm/", name);
  PORTOLAN_RETURN_IF_ERROR(CheckOpen());
  PORTOLAN_RETURN_IF_ERROR(CheckName(field, name));
  PORTOLAN_RETURN_IF_ERROR(CheckCount(field, values.size(), cells_ * width));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle obsm, h5ad::OpenOrCreateDict(file_, "obsm"));
  return Explain(h5ad::WriteArray(obsm, name, cells_, width, values.data()));
}

absl::Status H5adResultWriter::AppendObsm(const std::string& name, int64_t width,
                                          std::span<const float> rows) {
  const hdf5::Gate gate;
  const std::string field = absl::StrCat("obsm/", name);
  PORTOLAN_RETURN_IF_ERROR(CheckOpen());
  PORTOLAN_RETURN_IF_ERROR(CheckName(field, name));
  auto it = growing_.find(name);
  if (it == growing_.end()) {
    PORTOLAN_ASSIGN_OR_RETURN(const Handle obsm, h5ad::OpenOrCreateDict(file_, "obsm"));
    PORTOLAN_RETURN_IF_ERROR(hdf5::Remove(obsm, name));
    auto dataset = hdf5::CreateFloats(obsm, name, cells_, width);
    if (!dataset.ok()) return Explain(dataset.status());
    PORTOLAN_RETURN_IF_ERROR(Explain(h5ad::MarkArray(*dataset)));
    it = growing_.emplace(name, Growing{*std::move(dataset), width, 0}).first;
  }
  Growing& array = it->second;
  const int64_t count = width > 0 ? static_cast<int64_t>(rows.size()) / width : 0;
  if (width != array.width || count * width != static_cast<int64_t>(rows.size()) ||
      array.rows + count > cells_) {
    return InvalidField(
        field, absl::StrCat(rows.size(), " values from row ", array.rows),
        absl::StrCat("Give whole rows of ", array.width, " values, ", cells_, " in all."));
  }
  PORTOLAN_RETURN_IF_ERROR(Explain(hdf5::WriteRows(array.dataset, array.rows, width, rows)));
  array.rows += count;
  return absl::OkStatus();
}

absl::Status H5adResultWriter::WriteObsCategorical(const std::string& name,
                                                   std::span<const int32_t> codes,
                                                   std::span<const std::string> categories) {
  const hdf5::Gate gate;
  const std::string field = absl::StrCat("obs/", name);
  PORTOLAN_RETURN_IF_ERROR(CheckOpen());
  PORTOLAN_RETURN_IF_ERROR(CheckName(field, name));
  PORTOLAN_RETURN_IF_ERROR(CheckCount(field, codes.size(), cells_));
  PORTOLAN_RETURN_IF_ERROR(CheckCategories(field, codes, categories));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle obs, hdf5::OpenGroup(file_, "obs", "obs"));
  if (hdf5::StringAttribute(obs, "_index") == name) {
    return InvalidField(field, "the name of the index", "Choose another name.");
  }
  auto column = h5ad::WriteCodes(obs, name, codes, static_cast<int64_t>(categories.size()), false);
  if (!column.ok()) return Explain(column.status());
  PORTOLAN_RETURN_IF_ERROR(Explain(h5ad::WriteStringArray(*column, "categories", categories)));
  return Explain(AppendObsColumn(obs, name));
}

absl::Status H5adResultWriter::AppendObsColumn(const Handle& obs, const std::string& name) const {
  auto order = hdf5::StringsAttribute(obs, "column-order").value_or(std::vector<std::string>());
  if (std::find(order.begin(), order.end(), name) != order.end()) return absl::OkStatus();
  order.push_back(name);
  return hdf5::SetAttribute(obs, "column-order", order);
}

absl::Status H5adResultWriter::WriteUns(const std::string& name, const nlohmann::json& value) {
  const hdf5::Gate gate;
  PORTOLAN_RETURN_IF_ERROR(CheckOpen());
  PORTOLAN_RETURN_IF_ERROR(CheckName(absl::StrCat("uns/", name), name));
  PORTOLAN_ASSIGN_OR_RETURN(const Handle uns, h5ad::OpenOrCreateDict(file_, "uns"));
  return Explain(h5ad::WriteJson(uns, name, value));
}

absl::Status H5adResultWriter::Finish() {
  PORTOLAN_RETURN_IF_ERROR(CheckOpen());
  for (const auto& [name, array] : growing_) {
    if (array.rows == cells_) continue;
    return InvalidField(absl::StrCat("obsm/", name), absl::StrCat(array.rows, " rows"),
                        absl::StrCat("Give all ", cells_, " before the result is finished."));
  }
  {
    const hdf5::Gate gate;
    growing_.clear();
  }
  PORTOLAN_RETURN_IF_ERROR(Explain(hdf5::CloseFile(std::move(file_))));
  PORTOLAN_RETURN_IF_ERROR(Sync(temporary_path_, O_RDONLY));
  if (std::rename(temporary_path_.c_str(), output_path_.c_str()) != 0) {
    return CannotWrite(output_path_, errno, std::strerror(errno));
  }
  temporary_exists_ = false;
  return Sync(Folder(output_path_), O_RDONLY | O_DIRECTORY);
}

absl::Status H5adResultWriter::CheckOpen() const {
  return file_.valid() ? absl::OkStatus()
                       : absl::FailedPreconditionError("the result is already finished");
}

absl::Status H5adResultWriter::Explain(const absl::Status& status) const {
  if (status.ok() || GetFieldViolation(status).has_value()) return status;
  const std::string reason(status.message());
  // HDF5 reports the system's error as text.
  const bool full = absl::StrContains(reason, std::strerror(ENOSPC)) ||
                    absl::StrContains(reason, std::strerror(EFBIG)) ||
                    absl::StrContains(reason, std::strerror(EDQUOT));
  return CannotWrite(output_path_, full ? ENOSPC : EIO, reason);
}

}  // namespace portolan
