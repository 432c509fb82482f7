#include "core/archive/zip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"

namespace portolan {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kLargest32 = 0xffffffff;  // and the mark that the zip64 field has the value
constexpr uint64_t kMostFiles = 0xffff;
constexpr uint16_t kVersion = 45;  // the first with zip64
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint16_t kZip64Field = 1;
constexpr uint16_t kPaddingField = 0x4246;  // "FB", torch's
constexpr uint16_t kFirstDay = 0x21;        // 1980-01-01, the earliest that can be written
constexpr size_t kLocalBytes = 30;
constexpr size_t kFieldBytes = 4;  // id and length of an extra field

class Bytes {
 public:
  explicit Bytes(std::string& out) : out_(out) {}
  Bytes& U16(uint64_t value) { return Put(value, 2); }
  Bytes& U32(uint64_t value) { return Put(value, 4); }
  Bytes& U64(uint64_t value) { return Put(value, 8); }

 private:
  Bytes& Put(uint64_t value, int width) {
    for (int i = 0; i < width; ++i) out_.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
    return *this;
  }
  std::string& out_;
};

uint64_t Crc32(std::string_view content) {
  return crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
}

uint64_t Clip(uint64_t value) { return std::min(value, kLargest32); }

/// What local header and directory entry have in common.
void PutCommon(const ZipFile& file, uint64_t crc, size_t extra, std::string& out) {
  Bytes(out)
      .U16(kVersion)
      .U16(kUtf8Names)
      .U16(0)  // stored
      .U16(0)
      .U16(kFirstDay)
      .U32(crc)
      .U32(Clip(file.content.size()))
      .U32(Clip(file.content.size()))
      .U16(file.name.size())
      .U16(extra);
}

void PutLocal(const ZipFile& file, uint64_t crc, std::string& out) {
  std::string extra;
  if (file.content.size() >= kLargest32) {
    Bytes(extra).U16(kZip64Field).U16(16).U64(file.content.size()).U64(file.content.size());
  }
  const uint64_t before = out.size() + kLocalBytes + file.name.size() + extra.size() + kFieldBytes;
  const uint64_t padding = (kAlignment - before % kAlignment) % kAlignment;
  Bytes(extra).U16(kPaddingField).U16(padding);
  extra.append(padding, 'Z');
  Bytes(out).U32(0x04034b50);
  PutCommon(file, crc, extra.size(), out);
  out += file.name;
  out += extra;
  out.append(file.content);
}

void PutEntry(const ZipFile& file, uint64_t crc, uint64_t offset, std::string& out) {
  std::string values;
  if (file.content.size() >= kLargest32) {
    Bytes(values).U64(file.content.size()).U64(file.content.size());
  }
  if (offset >= kLargest32) Bytes(values).U64(offset);
  std::string extra;
  if (!values.empty()) {
    Bytes(extra).U16(kZip64Field).U16(values.size());
    extra += values;
  }
  Bytes(out).U32(0x02014b50).U16(kVersion);
  PutCommon(file, crc, extra.size(), out);
  Bytes(out).U16(0).U16(0).U16(0).U32(0).U32(Clip(offset));
  out += file.name;
  out += extra;
}

void PutEnd(uint64_t files, uint64_t directory, std::string& out) {
  const uint64_t end = out.size();
  const uint64_t bytes = end - directory;
  if (directory >= kLargest32 || bytes >= kLargest32) {
    Bytes(out).U32(0x06064b50).U64(44).U16(kVersion).U16(kVersion).U32(0).U32(0);
    Bytes(out).U64(files).U64(files).U64(bytes).U64(directory);
    Bytes(out).U32(0x07064b50).U32(0).U64(end).U32(1);
  }
  Bytes(out).U32(0x06054b50).U16(0).U16(0).U16(files).U16(files);
  Bytes(out).U32(Clip(bytes)).U32(Clip(directory)).U16(0);
}

}  // namespace

absl::StatusOr<std::string> WriteZip(const std::vector<ZipFile>& files) {
  uint64_t total = 0;
  for (const ZipFile& file : files) {
    if (file.name.size() > kMostFiles / 2) {
      return InvalidField("model", absl::StrCat("a name of ", file.name.size(), " bytes"),
                          "Use shorter names");
    }
    total += file.content.size() + 3 * file.name.size() + 4 * kAlignment;
  }
  if (files.size() >= kMostFiles) {
    return InvalidField("model", absl::StrCat(files.size(), " tensors"), "Use fewer tensors");
  }
  std::string out;
  out.reserve(total);
  std::string directory;
  for (const ZipFile& file : files) {
    const uint64_t offset = out.size();
    const uint64_t crc = Crc32(file.content);
    PutLocal(file, crc, out);
    PutEntry(file, crc, offset, directory);
  }
  const uint64_t start = out.size();
  out += directory;
  PutEnd(files.size(), start, out);
  return out;
}

}  // namespace portolan
