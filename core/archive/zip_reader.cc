#include "core/archive/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

// APPNOTE.TXT (the zip specification), sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalBytes = 30;
constexpr size_t kCentralBytes = 46;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocator64Bytes = 20;
constexpr size_t kLongestComment = 0xffff;
constexpr uint16_t kEncrypted = 1 << 0;
constexpr uint16_t kSizesFollow = 1 << 3;  // sizes and CRC stand after the content
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
constexpr uint16_t kZip64Extra = 1;
constexpr uint64_t kLargestInflation = 100;
constexpr uint64_t kFreeInflation = 1 << 20;

/// Little-endian reads at offsets the caller has checked.
class Cursor {
 public:
  explicit Cursor(const SharedBytes& bytes) : text_(bytes.text()) {}

  template <typename T>
  T Get(uint64_t offset) const {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<T>(static_cast<T>(static_cast<uint8_t>(text_[offset + i])) << (8 * i));
    }
    return value;
  }
  uint16_t U16(uint64_t offset) const { return Get<uint16_t>(offset); }
  uint32_t U32(uint64_t offset) const { return Get<uint32_t>(offset); }
  uint64_t U64(uint64_t offset) const { return Get<uint64_t>(offset); }

  bool Has(uint64_t offset, uint64_t size) const {
    return offset <= text_.size() && size <= text_.size() - offset;
  }
  std::string_view Text(uint64_t offset, uint64_t size) const { return text_.substr(offset, size); }
  uint64_t size() const { return text_.size(); }

 private:
  std::string_view text_;
};

struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t entries = 0;
};

std::optional<uint64_t> FindEnd(const Cursor& file) {
  if (file.size() < kEndBytes) return std::nullopt;
  const uint64_t last = file.size() - kEndBytes;
  const uint64_t first = last > kLongestComment ? last - kLongestComment : 0;
  for (uint64_t at = last + 1; at-- > first;) {
    if (file.U32(at) == kEndSignature && at + kEndBytes + file.U16(at + 20) == file.size()) {
      return at;
    }
  }
  return std::nullopt;
}

absl::StatusOr<Directory> FindDirectory(const Cursor& file) {
  const auto end = FindEnd(file);
  if (!end.has_value()) {
    return ArchiveErrorAt("no zip directory (the file is cut short or not a torch zip); looked up",
                          file.size(), "Copy the file again, or save it with torch 1.6 or newer");
  }
  Directory directory{file.U32(*end + 16), file.U32(*end + 12), file.U16(*end + 10)};
  uint64_t limit = *end;
  const uint64_t locator = *end - kLocator64Bytes;
  if (*end >= kLocator64Bytes && file.U32(locator) == kLocator64Signature) {
    const uint64_t end64 = file.U64(locator + 8);
    if (end64 > locator || locator - end64 < kEnd64Bytes || file.U32(end64) != kEnd64Signature) {
      return ArchiveErrorAt("zip64 directory pointer leads astray", locator);
    }
    directory = {file.U64(end64 + 48), file.U64(end64 + 40), file.U64(end64 + 32)};
    limit = end64;
  }
  if (directory.offset > limit || directory.size != limit - directory.offset ||
      directory.entries > directory.size / kCentralBytes) {
    return ArchiveErrorAt(absl::StrCat("zip directory of ", directory.size, " bytes and ",
                                       directory.entries, " entries does not fit"),
                          directory.offset);
  }
  return directory;
}

/// Replaces sizes that say "see the zip64 field" from the extra fields at [offset, offset + size).
bool ApplyZip64(const Cursor& file, uint64_t offset, uint64_t size, ZipEntry& entry) {
  constexpr uint32_t kElsewhere = 0xffffffff;
  std::vector<uint64_t*> wanted;
  if (entry.size == kElsewhere) wanted.push_back(&entry.size);
  if (entry.stored_size == kElsewhere) wanted.push_back(&entry.stored_size);
  if (entry.header == kElsewhere) wanted.push_back(&entry.header);
  if (wanted.empty()) return true;
  const uint64_t end = offset + size;
  while (end - offset >= 4) {
    const uint16_t id = file.U16(offset);
    const uint16_t length = file.U16(offset + 2);
    offset += 4;
    if (length > end - offset) return false;
    if (id == kZip64Extra) {
      if (length < 8 * wanted.size()) return false;
      for (size_t i = 0; i < wanted.size(); ++i) *wanted[i] = file.U64(offset + 8 * i);
      return true;
    }
    offset += length;
  }
  return false;
}

/// Reads the central record at `at` and moves `at` behind it.
absl::StatusOr<ZipEntry> ReadCentral(const Cursor& file, uint64_t end, uint64_t& at) {
  if (end - at < kCentralBytes || file.U32(at) != kCentralSignature) {
    return ArchiveErrorAt("broken zip directory record", at);
  }
  const uint64_t name = file.U16(at + 28);
  const uint64_t extra = file.U16(at + 30);
  const uint64_t comment = file.U16(at + 32);
  if (end - at - kCentralBytes < name + extra + comment) {
    return ArchiveErrorAt("zip directory record runs over the directory's end", at);
  }
  ZipEntry entry;
  entry.name = file.Text(at + kCentralBytes, name);
  entry.crc32 = file.U32(at + 16);
  entry.stored_size = file.U32(at + 20);
  entry.size = file.U32(at + 24);
  entry.header = file.U32(at + 42);
  const uint16_t method = file.U16(at + 10);
  if ((file.U16(at + 8) & kEncrypted) != 0 || (method != kStored && method != kDeflated)) {
    return ArchiveErrorAt(absl::StrCat("zip entry is encrypted or uses method ", method), at,
                          "Save the model with torch, which stores its entries plainly");
  }
  entry.deflated = method == kDeflated;
  if (!ApplyZip64(file, at + kCentralBytes + name, extra, entry)) {
    return ArchiveErrorAt("zip64 sizes are missing", at);
  }
  if (!entry.deflated && entry.size != entry.stored_size) {
    return ArchiveErrorAt("stored zip entry has two sizes", at);
  }
  at += kCentralBytes + name + extra + comment;
  return entry;
}

/// Compares `entry` with its local header and sets where its content starts.
absl::Status CheckLocal(const Cursor& file, uint64_t limit, ZipEntry& entry) {
  const uint64_t at = entry.header;
  if (at > limit || limit - at < kLocalBytes || file.U32(at) != kLocalSignature) {
    return ArchiveErrorAt("zip entry has no local header", at);
  }
  const uint64_t name = file.U16(at + 26);
  const uint64_t extra = file.U16(at + 28);
  if (limit - at - kLocalBytes < name + extra) {
    return ArchiveErrorAt("zip local header runs over the entries' end", at);
  }
  if (file.Text(at + kLocalBytes, name) != entry.name ||
      file.U16(at + 8) != (entry.deflated ? kDeflated : kStored)) {
    return ArchiveErrorAt("zip local header disagrees with the directory", at);
  }
  entry.data = at + kLocalBytes + name + extra;
  if (entry.stored_size > limit - entry.data) {
    return ArchiveErrorAt(absl::StrCat("zip entry of ", entry.stored_size, " bytes does not fit"),
                          at);
  }
  if ((file.U16(at + 6) & kSizesFollow) == 0) {
    ZipEntry local;
    local.stored_size = file.U32(at + 18);
    local.size = file.U32(at + 22);
    if (!ApplyZip64(file, at + kLocalBytes + name, extra, local) || local.size != entry.size ||
        local.stored_size != entry.stored_size) {
      return ArchiveErrorAt("zip local header states another size than the directory", at);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOverlap(std::vector<ZipEntry>& entries) {
  std::sort(entries.begin(), entries.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.header < b.header; });
  for (size_t i = 1; i < entries.size(); ++i) {
    const ZipEntry& before = entries[i - 1];
    if (before.data + before.stored_size > entries[i].header) {
      return ArchiveErrorAt("zip entries overlap", entries[i].header);
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i - 1].name == entries[i].name) {
      return ArchiveErrorAt("zip entry name occurs twice", entries[i].header);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SharedBytes> Inflate(const SharedBytes& from, const ZipEntry& entry) {
  if (entry.size > kFreeInflation && entry.size / kLargestInflation > entry.stored_size) {
    return ArchiveErrorAt(
        absl::StrCat("zip entry inflates ", entry.stored_size, " bytes to ", entry.size),
        entry.data, "Save the model with torch, which does not compress");
  }
  auto bytes = AllocateBytes(entry.size);
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return absl::ResourceExhaustedError("zlib");
  const std::string_view source = from.text();
  auto* next_in = reinterpret_cast<Bytef*>(const_cast<char*>(source.data()));
  auto* next_out = reinterpret_cast<Bytef*>(bytes.get());
  uint64_t in_left = source.size();
  uint64_t out_left = entry.size;
  stream.next_in = next_in;
  stream.next_out = next_out;
  int result = Z_OK;
  // zlib counts in 32 bits, so large entries go through it in pieces.
  constexpr uint64_t kPiece = std::numeric_limits<uInt>::max();
  while (result == Z_OK) {
    const auto in_piece = static_cast<uInt>(std::min(in_left, kPiece));
    const auto out_piece = static_cast<uInt>(std::min(out_left, kPiece));
    stream.avail_in = in_piece;
    stream.avail_out = out_piece;
    result = inflate(&stream, Z_NO_FLUSH);
    in_left -= in_piece - stream.avail_in;
    out_left -= out_piece - stream.avail_out;
  }
  inflateEnd(&stream);
  if (result != Z_STREAM_END || in_left != 0 || out_left != 0) {
    return ArchiveErrorAt("broken deflate stream", entry.data);
  }
  return SharedBytes(std::move(bytes), entry.size);
}

}  // namespace

absl::StatusOr<ZipReader> ZipReader::Open(SharedBytes file_bytes) {
  ZipReader reader(std::move(file_bytes));
  const Cursor file(reader.file_);
  PORTOLAN_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(file));
  const uint64_t end = directory.offset + directory.size;
  reader.entries_.reserve(directory.entries);
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    PORTOLAN_ASSIGN_OR_RETURN(ZipEntry entry, ReadCentral(file, end, at));
    PORTOLAN_RETURN_IF_ERROR(CheckLocal(file, directory.offset, entry));
    reader.entries_.push_back(entry);
  }
  if (at != end) return ArchiveErrorAt("zip directory holds more than its entries", at);
  PORTOLAN_RETURN_IF_ERROR(CheckOverlap(reader.entries_));
  return reader;
}

const ZipEntry* ZipReader::Find(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const ZipEntry& entry, std::string_view n) { return entry.name < n; });
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

const ZipEntry* ZipReader::FindSuffix(std::string_view suffix) const {
  const ZipEntry* only = nullptr;
  for (const ZipEntry& entry : entries_) {
    if (!entry.name.ends_with(suffix)) continue;
    if (only != nullptr) return nullptr;
    only = &entry;
  }
  return only;
}

absl::StatusOr<SharedBytes> ZipReader::Read(const ZipEntry& entry, int64_t max_bytes) const {
  if (entry.size > static_cast<uint64_t>(std::max<int64_t>(max_bytes, 0))) {
    return ArchiveErrorAt(absl::StrCat(Absl(Quoted(entry.name)), " of ", entry.size,
                                       " bytes exceeds the limit of ", max_bytes),
                          entry.data, "Raise the limit if the file is trusted");
  }
  SharedBytes content = file_.Slice(entry.data, entry.stored_size);
  if (entry.deflated) {
    PORTOLAN_ASSIGN_OR_RETURN(content, Inflate(content, entry));
  }
  const auto* bytes = reinterpret_cast<const Bytef*>(content.data());
  if (entry.crc32 != 0 && crc32_z(0, bytes, content.size()) != entry.crc32) {
    return ArchiveErrorAt(absl::StrCat(Absl(Quoted(entry.name)), " fails its checksum"),
                          entry.data);
  }
  return content;
}

}  // namespace portolan
