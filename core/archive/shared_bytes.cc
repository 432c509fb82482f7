#include "core/archive/shared_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"

namespace portolan {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kReadBlock = size_t{1} << 30;  // read(2) moves at most about 2 GiB

absl::Status SystemError(const std::string& path) {
  const int error = errno;
  const std::string found =
      absl::StrCat("'", path, "' cannot be read (", std::strerror(error), ")");
  if (error == ENOENT || error == ENOTDIR) {
    return FieldError(absl::StatusCode::kNotFound, "model.pt", found,
                      "Name a directory that holds a saved model");
  }
  return FieldError(absl::StatusCode::kFailedPrecondition, "model.pt", found,
                    "Check the file and its permissions");
}

}  // namespace

SharedBytes SharedBytes::CopyOf(std::string_view text) {
  auto bytes = AllocateBytes(text.size());
  if (!text.empty()) std::memcpy(bytes.get(), text.data(), text.size());
  return SharedBytes(std::move(bytes), text.size());
}

SharedBytes SharedBytes::Slice(size_t offset, size_t size) const {
  return SharedBytes(std::shared_ptr<const std::byte[]>(bytes_, bytes_.get() + offset), size);
}

std::shared_ptr<std::byte[]> AllocateBytes(size_t size) {
  auto* memory = static_cast<std::byte*>(::operator new[](std::max<size_t>(size, 1), kAlignment));
  return std::shared_ptr<std::byte[]>(memory,
                                      [](std::byte* p) { ::operator delete[](p, kAlignment); });
}

absl::StatusOr<SharedBytes> ReadFileBytes(const std::string& path, int64_t max_bytes) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return SystemError(path);
  const absl::Cleanup closer = [file] { close(file); };
  struct stat info;
  if (fstat(file, &info) != 0) return SystemError(path);
  if (!S_ISREG(info.st_mode)) {
    return ArchiveError("not a regular file", "Name a directory that holds a saved model");
  }
  if (info.st_size > max_bytes) {
    return ArchiveError(absl::StrCat(info.st_size, " bytes, more than the limit of ", max_bytes),
                        "Raise the limit if the file is trusted");
  }
  const size_t size = static_cast<size_t>(info.st_size);
  auto bytes = AllocateBytes(size);
  for (size_t at = 0; at < size;) {
    const ssize_t got = read(file, bytes.get() + at, std::min(size - at, kReadBlock));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path);
    if (got == 0) return ArchiveErrorAt("the file ended while it was read", at);
    at += static_cast<size_t>(got);
  }
  return SharedBytes(std::move(bytes), size);
}

}  // namespace portolan
