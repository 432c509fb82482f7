#include "tests/fuzz/scratch_folder.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace portolan::fuzz {

const ScratchFolder& ScratchFolder::OfProcess() {
  static const ScratchFolder folder;
  return folder;
}

ScratchFolder::ScratchFolder() {
  std::error_code error;
  const auto in_memory = std::filesystem::path("/dev/shm");
  const auto parent = std::filesystem::is_directory(in_memory, error)
                          ? in_memory
                          : std::filesystem::temp_directory_path();
  path_ = (parent / "portolan-fuzz-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) std::abort();
}

ScratchFolder::~ScratchFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string ScratchFolder::Write(const std::string& name, std::string_view content) const {
  std::string path = *this / name;
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) std::abort();
  if (std::fwrite(content.data(), 1, content.size(), file) != content.size()) std::abort();
  std::fclose(file);
  return path;
}

}  // namespace portolan::fuzz
