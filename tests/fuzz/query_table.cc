// Tables of text, plain or gzip: the input is the file.
#include <cstddef>
#include <cstdint>

#include "core/io/table_reader.h"
#include "tests/fuzz/check_reader.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace portolan;
  const std::string path =
      fuzz::ScratchFolder::OfProcess().Write("table", {reinterpret_cast<const char*>(data), size});
  fuzz::CheckReader(OpenTable(path, fuzz::ReferenceGenes()));
  return 0;
}
