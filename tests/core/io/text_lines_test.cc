#include "core/io/text_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/io/h5ad_builder.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing_io::TempPath;

std::vector<std::string> Lines(const std::string& text) {
  const std::string path = TempPath("lines");
  testing_io::WriteBytes(path, text);
  auto lines = TextLines::Open(path, "file");
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<std::string> out;
  while (lines.ok()) {
    const auto line = lines->Next();
    EXPECT_TRUE(line.ok()) << line.status();
    if (!line.ok() || !line->has_value()) break;
    out.emplace_back(**line);
    EXPECT_EQ(lines->line_number(), static_cast<int64_t>(out.size()));
  }
  return out;
}

TEST(TextLines, EndWithEitherEndOrTheFile) {
  EXPECT_THAT(Lines("a\nb\r\n\nc"), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(Lines("a\n"), ElementsAre("a"));
  EXPECT_THAT(Lines("\n"), ElementsAre(""));
  EXPECT_THAT(Lines(""), IsEmpty());
}

TEST(TextLines, AreWholeAcrossBuffers) {
  const std::string longer(700'000, 'x');
  EXPECT_THAT(Lines("a\n" + longer + "\nb\n" + longer), ElementsAre("a", longer, "b", longer));
}

TEST(SplitFields, MindsQuotesOnlyWhereAFieldBeginsWithOne) {
  std::vector<std::string_view> fields;
  SplitFields("a,\"b,c\",,5\",\"d\"\"e,\"", ',', fields);
  EXPECT_THAT(fields, ElementsAre("a", "\"b,c\"", "", "5\"", "\"d\"\"e,\""));
  EXPECT_EQ(Unquoted(fields[1]), "b,c");
  EXPECT_EQ(Unquoted(fields[3]), "5\"");
  EXPECT_EQ(Unquoted(fields[4]), "d\"e,");
  SplitFields("", ',', fields);
  EXPECT_THAT(fields, ElementsAre(""));
  SplitFields("\"open,a", ',', fields);
  EXPECT_THAT(fields, ElementsAre("\"open,a"));
  SplitFields("  a \t b ", ' ', fields);
  EXPECT_THAT(fields, ElementsAre("a", "b"));
}

}  // namespace
}  // namespace portolan
