#pragma once

#include <string>

namespace portolan {

/// Where the sources and the build lie. Only this library knows, so that no other test has to be
/// compiled again for another checkout.
std::string SourceDir();
std::string BinaryDir();

}  // namespace portolan
