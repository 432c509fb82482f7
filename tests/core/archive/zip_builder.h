#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace portolan {

/// One file of a zip, with every field that a hostile zip may lie about.
struct ZipPart {
  std::string name;
  std::string content;
  bool deflate = false;
  bool sizes_follow = false;            ///< as torch writes: zeros in the local header
  std::optional<uint32_t> crc = {};     ///< instead of the true one
  std::optional<uint64_t> size = {};    ///< stated in the directory instead of the true one
  std::string local_name = {};          ///< instead of `name`
  std::optional<uint32_t> header = {};  ///< stated offset of the local header
};

/// The bytes of a zip. `zip64` adds the zip64 end record and its locator, as torch does. Contents
/// start at multiples of 64 as torch aligns them, unless `align` is 1.
std::string BuildZip(const std::vector<ZipPart>& parts, bool zip64 = true, size_t align = 64);

}  // namespace portolan
