// The pickle inside a model.pt: the input is data.pkl. Storage 0 to 99 are there, of 64 floats
// each.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/archive/zip_writer.h"
#include "tests/fuzz/model_check.h"

namespace portolan {
namespace {

constexpr int kStorages = 100;

std::string FileWith(std::string_view pickle) {
  static const std::string& floats = *new std::string(64 * sizeof(float), '\0');
  std::vector<ZipFile> files = {{"model/data.pkl", pickle}};
  for (int i = 0; i < kStorages; ++i) files.push_back({absl::StrCat("model/data/", i), floats});
  return *WriteZip(files);
}

}  // namespace
}  // namespace portolan

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  fuzz::CheckModel(ParseSavedModel(SharedBytes::CopyOf(FileWith(fuzz::TextOf(data, size))),
                                   std::nullopt, fuzz::SmallLimits()));
  return 0;
}
