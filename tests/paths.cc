#include "tests/paths.h"

namespace portolan {

std::string SourceDir() { return PORTOLAN_SOURCE_DIR; }
std::string BinaryDir() { return PORTOLAN_BINARY_DIR; }

}  // namespace portolan
