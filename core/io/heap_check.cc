#include "core/io/heap_check.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::hdf5 {
namespace {

// HDF5 File Format Specification 3.0, III.E "Global Heap". All numbers are little-endian.
constexpr char kMagic[] = "GCOL";
constexpr size_t kMagicSize = 4;
constexpr uint64_t kHeaderSize = 16;  // magic, version, 3 reserved, size of the collection
constexpr uint64_t kObjectSize = 16;  // index, references, 4 reserved, size of the object
constexpr uint64_t kLargestCollection = uint64_t{64} << 20;
constexpr uint64_t kLargestText = 4096;
constexpr size_t kPiece = size_t{4} << 20;

uint64_t Number(const char* bytes, int size) {
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i) {
    value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

absl::Status Broken(uint64_t at) {
  return InvalidField("file", absl::StrCat("a broken list of texts at byte ", at),
                      "The file is truncated or damaged: copy or write it again.");
}

// The objects must fill the collection from end to end.
absl::Status CheckObjects(const std::vector<char>& collection, uint64_t at) {
  uint64_t offset = kHeaderSize;
  while (offset + kObjectSize <= collection.size()) {
    const char* const object = collection.data() + offset;
    const uint64_t index = Number(object, 2);
    const uint64_t size = Number(object + 8, 8);
    const uint64_t room = collection.size() - offset;
    // Index 0 is the free space, which fills the rest and counts its own header. HDF5 would go on
    // behind a smaller one, and for ever at one of size 0.
    if (index == 0) return size == room ? absl::OkStatus() : Broken(at);
    if (size > room - kObjectSize) return Broken(at);
    if (size > kLargestText) {
      return InvalidField("file", absl::StrCat("a text of ", size, " bytes"),
                          absl::StrCat("Remove texts of more than ", kLargestText,
                                       " bytes, often found in uns, and write the file again."));
    }
    offset += kObjectSize + (size + 7) / 8 * 8;
  }
  return absl::OkStatus();
}

absl::Status CheckCollection(std::ifstream& file, uint64_t at) {
  std::vector<char> header(kHeaderSize);
  file.clear();
  file.seekg(static_cast<std::streamoff>(at));
  // Without its version this is no collection, and HDF5 will not take it for one.
  if (!file.read(header.data(), kHeaderSize) || header[kMagicSize] != 1) return absl::OkStatus();
  const uint64_t size = Number(header.data() + 8, 8);
  if (size < kHeaderSize || size > kLargestCollection) return Broken(at);
  std::vector<char> collection(size);
  file.seekg(static_cast<std::streamoff>(at));
  if (!file.read(collection.data(), static_cast<std::streamsize>(size))) return Broken(at);
  return CheckObjects(collection, at);
}

// Objects are laid out by the "size of lengths" of the superblock: 8 bytes in practice.
absl::Status CheckSuperblock(std::ifstream& file) {
  constexpr size_t kUserBlockStep = 512;
  for (uint64_t at = 0; at <= (uint64_t{1} << 20); at = at == 0 ? kUserBlockStep : 2 * at) {
    char bytes[16] = {};
    file.clear();
    file.seekg(static_cast<std::streamoff>(at));
    if (!file.read(bytes, sizeof(bytes))) break;
    if (std::memcmp(bytes, "\x89HDF\r\n\x1a\n", 8) != 0) continue;
    const char* const sizes = bytes + (bytes[8] < 2 ? 13 : 9);
    if (sizes[0] == 8 && sizes[1] == 8) return absl::OkStatus();
    return InvalidField("file", "an HDF5 file whose addresses are not of 8 bytes",
                        "Write the file again with anndata (adata.write_h5ad).");
  }
  return InvalidField("file", "no HDF5 file", "Send an h5ad file (adata.write_h5ad).");
}

}  // namespace

absl::Status CheckGlobalHeaps(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  PORTOLAN_RETURN_IF_ERROR(CheckSuperblock(file));
  // Pieces overlap, so that no magic is cut in two.
  std::vector<char> piece(kPiece);
  for (uint64_t start = 0;; start += kPiece - kMagicSize + 1) {
    file.clear();
    file.seekg(static_cast<std::streamoff>(start));
    file.read(piece.data(), kPiece);
    const auto read = static_cast<size_t>(file.gcount());
    // Looks for the first letter alone, and so at the speed of memory; memmem would take most of
    // the time that reading takes.
    const std::string_view text(piece.data(), read);
    for (size_t found = text.find(kMagic); found != text.npos;
         found = text.find(kMagic, found + 1)) {
      PORTOLAN_RETURN_IF_ERROR(CheckCollection(file, start + found));
    }
    if (read < kPiece) return absl::OkStatus();
  }
}

}  // namespace portolan::hdf5
