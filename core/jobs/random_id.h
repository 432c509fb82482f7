#pragma once

#include <string>

namespace portolan {

/// Sixteen random hexadecimal digits: a name that no earlier run of the program has given away.
std::string RandomId();

}  // namespace portolan
