#include "core/io/query_reader.h"

#include <array>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/h5ad_reader.h"
#include "core/io/mex_reader.h"
#include "core/io/table_reader.h"
#include "core/io/tenx_hdf5_reader.h"
#include "core/io/text_lines.h"

namespace portolan {
namespace {

constexpr absl::string_view kHdf5Signature("\x89HDF\r\n\x1a\n", 8);
// The signature may stand after a user block of 0, 512, 1024, ... bytes.
constexpr std::streamoff kLargestUserBlock = 1 << 20;
constexpr size_t kPeeked = 1 << 16;
constexpr char kSend[] =
    "Send an h5ad file (adata.write_h5ad), a 10x HDF5 file, a folder with matrix.mtx, features.tsv "
    "and barcodes.tsv, or a table of counts (csv, tsv).";

std::string Peek(std::ifstream& in, std::streamoff at, size_t size) {
  std::string bytes(size, '\0');
  in.clear();
  in.seekg(at);
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  bytes.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
  return bytes;
}

bool HasHdf5Signature(std::ifstream& in) {
  for (std::streamoff at = 0; at <= kLargestUserBlock; at = at == 0 ? 512 : 2 * at) {
    const std::string bytes = Peek(in, at, kHdf5Signature.size());
    if (bytes.size() < kHdf5Signature.size()) return false;
    if (kHdf5Signature == bytes) return true;
  }
  return false;
}

// What a file that cannot be a table of text seems to be, from its first bytes, expanded; empty for
// what can.
std::string NoTable(const std::string& head) {
  if (head.empty()) return "is empty";
  if (absl::StartsWith(head, kHdf5Signature)) return "is an HDF5 file compressed with gzip";
  if (absl::StartsWith(head, "\x1f\x8b")) return "is damaged: it cannot be expanded with gzip";
  if (absl::StartsWith(head, "PK\x03\x04")) return "is a zip archive";
  if (absl::StartsWith(head, "RDX") || absl::StartsWith(head, "X\n")) return "is an R object";
  if (absl::StartsWithIgnoreCase(head, "<!doctype") || absl::StartsWithIgnoreCase(head, "<html")) {
    return "is a web page";
  }
  if (head.find('\0') != std::string::npos) return "is of an unknown format";
  return LooksLikeTable(head) ? "" : "is a text file, but no table";
}

using Opened = absl::StatusOr<std::unique_ptr<QueryReader>>;

Opened OpenHdf5(const std::string& path, const OpenQueryOptions& options) {
  PORTOLAN_ASSIGN_OR_RETURN(hdf5::Handle file, hdf5::OpenFile(path));
  const bool has_obs = hdf5::KindOf(file, "obs") != hdf5::ObjectKind::kAbsent;
  if (!has_obs && IsTenxHdf5(file)) return OpenTenxHdf5(std::move(file), options.reference_genes);
  return OpenH5ad(std::move(file), path);
}

Opened OpenFolder(const std::string& path, const OpenQueryOptions& options) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto files, FindMex(path));
  if (files.has_value()) return OpenMex(*files, options.reference_genes);
  return InvalidField("file", absl::StrCat(path, " is a folder without a matrix.mtx"), kSend);
}

Opened OpenText(const std::string& path, const OpenQueryOptions& options) {
  const std::string head = FirstBytes(path, kPeeked);
  if (absl::StartsWithIgnoreCase(head, "%%MatrixMarket")) return OpenFolder(path, options);
  const std::string reason = NoTable(head);
  if (reason.empty()) return OpenTable(path, options.reference_genes);
  return InvalidField("file", absl::StrCat(path, " ", reason), kSend);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> QueryReader::ProteinNames(const ProteinSource&) {
  return InvalidField("proteins", "the file's format keeps no proteins",
                      "Send an h5ad file with the proteins in obsm, or 10x files with features of "
                      "the type Antibody Capture.");
}

absl::Status QueryReader::ReadProteins(const ProteinSource& source, const ProteinAlignment&,
                                       int64_t, const CancelToken&, const ProteinSink&) {
  return ProteinNames(source).status();
}

absl::StatusOr<ObsColumn> QueryReader::ReadObs(const std::string& column) {
  return InvalidField("obs", absl::StrCat("no column ", column),
                      "A file of this format has no columns in obs.");
}

// The place where a format is told by its content. A further format gets its line here.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenQuery(const std::string& path,
                                                       const OpenQueryOptions& options) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return FieldError(absl::StatusCode::kNotFound, "file", absl::StrCat(path, " does not exist"),
                      "Check the path.");
  }
  if (std::filesystem::is_directory(status)) return OpenFolder(path, options);
  if (!std::filesystem::is_regular_file(status)) {
    return InvalidField("file", absl::StrCat(path, " is not a regular file"), kSend);
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return FieldError(absl::StatusCode::kPermissionDenied, "file",
                      absl::StrCat(path, " cannot be read"), "Check the file's permissions.");
  }
  return HasHdf5Signature(in) ? OpenHdf5(path, options) : OpenText(path, options);
}

}  // namespace portolan
