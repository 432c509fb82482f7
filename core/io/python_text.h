#pragma once

#include <cstdint>
#include <string>

namespace portolan {

/// Numbers and booleans as Python's str() spells them, which is how pandas and scvi-tools turn a
/// column into batch names: "1", "1.0", "1e-05", "1e+16", "nan", "inf", "True".
std::string PythonText(int64_t value);
std::string PythonText(uint64_t value);
std::string PythonText(bool value);
std::string PythonText(double value);
/// The shortest digits that give this float back (numpy.float32's str()).
std::string PythonText(float value);

}  // namespace portolan
