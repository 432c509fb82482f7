// Folders in Matrix Market format: the input is matrix, features and barcodes, one after the other,
// with a line of "---" between them.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/io/mex_reader.h"
#include "tests/fuzz/check_reader.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const fuzz::ScratchFolder& folder = fuzz::ScratchFolder::OfProcess();
  constexpr std::string_view kBetween = "\n---\n";
  size_t start = 0;
  for (const char* name : {"matrix.mtx", "features.tsv", "barcodes.tsv"}) {
    const size_t end = std::min(input.find(kBetween, start), input.size());
    folder.Write(name, input.substr(start, end - start));
    start = std::min(end + kBetween.size(), input.size());
  }
  fuzz::CheckReader(OpenQuery(folder.path(), {.reference_genes = fuzz::ReferenceGenes()}));
  return 0;
}
