#include "tests/core/archive/zip_builder.h"

#include <zlib.h>

#include "tests/core/archive/pickle_builder.h"

namespace portolan {
namespace {

std::string Deflated(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

std::string BuildZip(const std::vector<ZipPart>& parts, bool zip64, size_t align) {
  using pickle::Little;
  std::string file, directory;
  for (const ZipPart& part : parts) {
    const std::string stored = part.deflate ? Deflated(part.content) : part.content;
    const auto crc = part.crc.value_or(
        static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(part.content.data()),
                                    static_cast<uInt>(part.content.size()))));
    const std::string method = Little(part.deflate ? 8 : 0, 2);
    const std::string flags = Little(part.sizes_follow ? 8 : 0, 2);
    const std::string& local = part.local_name.empty() ? part.name : part.local_name;
    const uint64_t size = part.size.value_or(part.content.size());
    const uint64_t packed = part.deflate ? stored.size() : size;
    const uint32_t header = part.header.value_or(static_cast<uint32_t>(file.size()));
    size_t padding = (align - (file.size() + 30 + local.size()) % align) % align;
    if (padding > 0 && padding < 4) padding += align;
    const std::string extra =
        padding == 0 ? "" : "FB" + Little(padding - 4, 2) + std::string(padding - 4, 'Z');
    const std::string sizes = part.sizes_follow
                                  ? std::string(12, '\0')
                                  : Little(crc, 4) + Little(packed, 4) + Little(size, 4);
    file += "PK\x03\x04" + Little(0, 2) + flags + method + Little(0, 4) + sizes +
            Little(local.size(), 2) + Little(extra.size(), 2) + local + extra + stored;
    if (part.sizes_follow)
      file += "PK\x07\x08" + Little(crc, 4) + Little(packed, 4) + Little(size, 4);
    directory += "PK\x01\x02" + Little(0, 4) + flags + method + Little(0, 4) + Little(crc, 4) +
                 Little(packed, 4) + Little(size, 4) + Little(part.name.size(), 2) +
                 std::string(12, '\0') + Little(header, 4) + part.name;
  }
  const uint64_t start = file.size();
  file += directory;
  if (zip64) {
    const uint64_t end64 = file.size();
    file += "PK\x06\x06" + Little(44, 8) + Little(0, 12) + Little(parts.size(), 8) +
            Little(parts.size(), 8) + Little(directory.size(), 8) + Little(start, 8);
    file += "PK\x06\x07" + Little(0, 4) + Little(end64, 8) + Little(1, 4);
  }
  return file + "PK\x05\x06" + Little(0, 4) + Little(parts.size(), 2) + Little(parts.size(), 2) +
         Little(directory.size(), 4) + Little(start, 4) + Little(0, 2);
}

}  // namespace portolan
