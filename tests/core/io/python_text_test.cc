#include "core/io/python_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace portolan {
namespace {

TEST(PythonText, SpellsNumbersAsStrDoes) {
  EXPECT_EQ(PythonText(int64_t{-7}), "-7");
  EXPECT_EQ(PythonText(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(PythonText(true), "True");
  EXPECT_EQ(PythonText(false), "False");
  EXPECT_EQ(PythonText(1.0), "1.0");
  EXPECT_EQ(PythonText(-0.0), "-0.0");
  EXPECT_EQ(PythonText(0.1), "0.1");
  EXPECT_EQ(PythonText(123.456), "123.456");
  EXPECT_EQ(PythonText(0.0001), "0.0001");
  EXPECT_EQ(PythonText(0.00001), "1e-05");
  EXPECT_EQ(PythonText(1e15), "1000000000000000.0");
  EXPECT_EQ(PythonText(1e16), "1e+16");
  EXPECT_EQ(PythonText(1.5e300), "1.5e+300");
  EXPECT_EQ(PythonText(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(PythonText(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(PythonText, SpellsFloatsWithTheirOwnShortestDigits) {
  EXPECT_EQ(PythonText(0.1f), "0.1");
  EXPECT_EQ(PythonText(16777216.0f), "16777216.0");
}

}  // namespace
}  // namespace portolan
