#include "core/io/query_reader.h"

#include <array>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/io/h5ad_reader.h"

namespace portolan {
namespace {

constexpr absl::string_view kHdf5Signature("\x89HDF\r\n\x1a\n", 8);
// The signature may stand after a user block of 0, 512, 1024, ... bytes.
constexpr std::streamoff kLargestUserBlock = 1 << 20;
constexpr size_t kPeeked = 512;

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

// What a file that is not HDF5 seems to be, from its first bytes.
std::string Seems(const std::string& head) {
  if (head.empty()) return "is empty";
  if (absl::StartsWith(head, "\x1f\x8b")) return "is compressed with gzip";
  if (absl::StartsWith(head, "PK\x03\x04")) return "is a zip archive";
  if (absl::StartsWith(head, "%%MatrixMarket")) return "is a Matrix Market file";
  if (absl::StartsWith(head, "RDX") || absl::StartsWith(head, "X\n")) return "is an R object";
  if (absl::StartsWithIgnoreCase(head, "<!doctype") || absl::StartsWithIgnoreCase(head, "<html")) {
    return "is a web page";
  }
  const bool text = head.find('\0') == std::string::npos;
  if (text && head.find('\t') != std::string::npos) return "is a table of text (tab-separated)";
  if (text && head.find(',') != std::string::npos) return "is a table of text (comma-separated)";
  return text ? "is a text file" : "is no HDF5 file";
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

// The place where a format is told by its content. A further format gets its line here.
absl::StatusOr<std::unique_ptr<QueryReader>> OpenQuery(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return FieldError(absl::StatusCode::kNotFound, "file", absl::StrCat(path, " does not exist"),
                      "Check the path.");
  }
  if (!std::filesystem::is_regular_file(status)) {
    return InvalidField(
        "file",
        absl::StrCat(path, std::filesystem::is_directory(status) ? " is a directory"
                                                                 : " is not a regular file"),
        "Name an h5ad file.");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return FieldError(absl::StatusCode::kPermissionDenied, "file",
                      absl::StrCat(path, " cannot be read"), "Check the file's permissions.");
  }
  if (HasHdf5Signature(in)) return OpenH5ad(path);
  return InvalidField("file", absl::StrCat(path, " ", Seems(Peek(in, 0, kPeeked))),
                      "Send an h5ad file (adata.write_h5ad).");
}

}  // namespace portolan
