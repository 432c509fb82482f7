#include "core/io/lzf.h"

#include <gtest/gtest.h>

#include <string>

namespace portolan {
namespace {

std::string Expand(const std::vector<uint8_t>& block, size_t limit = 1000) {
  const auto out = ExpandLzf(block, limit);
  return out.has_value() ? std::string(out->begin(), out->end()) : "malformed";
}

TEST(ExpandLzf, ExpandsLiteralsAndReferences) {
  EXPECT_EQ(Expand({}), "");
  EXPECT_EQ(Expand({2, 'a', 'b', 'c'}), "abc");
  // Copy 3 from 3 back.
  EXPECT_EQ(Expand({2, 'a', 'b', 'c', 0x20, 2}), "abcabc");
  // Overlapping: copy 5 from 1 back.
  EXPECT_EQ(Expand({0, 'x', 0x60, 0}), "xxxxxx");
  // A long one: 9 + 10 from 1 back.
  EXPECT_EQ(Expand({0, 'x', 0xe0, 10, 0}), std::string(20, 'x'));
}

TEST(ExpandLzf, RefusesMalformedBlocks) {
  EXPECT_EQ(Expand({5, 'a'}), "malformed");               // literals beyond the end
  EXPECT_EQ(Expand({0x20, 0}), "malformed");              // nothing to refer to
  EXPECT_EQ(Expand({0, 'a', 0x20, 1}), "malformed");      // before the beginning
  EXPECT_EQ(Expand({0, 'a', 0x20}), "malformed");         // offset missing
  EXPECT_EQ(Expand({0, 'a', 0xe0}), "malformed");         // length missing
  EXPECT_EQ(Expand({0, 'a', 0xe0, 255}), "malformed");    // offset missing after it
  EXPECT_EQ(Expand({0, 'x', 0x60, 0}, 5), "malformed");   // more than the limit
  EXPECT_EQ(Expand({2, 'a', 'b', 'c'}, 2), "malformed");  // literals above the limit
}

TEST(ExpandLzf, EveryShortBlockIsExpandedOrRefused) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const auto out = ExpandLzf(std::vector<uint8_t>{1, 'a', 'b', static_cast<uint8_t>(first),
                                                      static_cast<uint8_t>(second)},
                                 64);
      EXPECT_TRUE(!out.has_value() || out->size() <= 64);
    }
  }
}

}  // namespace
}  // namespace portolan
