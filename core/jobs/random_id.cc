#include "core/jobs/random_id.h"

#include <cstdint>
#include <random>

#include "absl/strings/str_cat.h"

namespace portolan {

std::string RandomId() {
  std::random_device device;
  const uint64_t bits = (static_cast<uint64_t>(device()) << 32) | device();
  return absl::StrCat(absl::Hex(bits, absl::kZeroPad16));
}

}  // namespace portolan
