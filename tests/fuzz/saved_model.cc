// Whole files: the input is a model.pt. Those of the corpus have no CRC-32, so that a changed byte
// is read and not refused.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/model_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  fuzz::CheckModel(ParseSavedModel(SharedBytes::CopyOf(fuzz::TextOf(data, size)), std::nullopt,
                                   fuzz::SmallLimits()));
  return 0;
}
