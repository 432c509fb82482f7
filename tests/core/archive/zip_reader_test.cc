#include "core/archive/zip_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/base/field_error.h"
#include "tests/core/archive/zip_builder.h"

namespace portolan {
namespace {

using testing::HasSubstr;

absl::StatusOr<ZipReader> Open(const std::string& bytes) {
  return ZipReader::Open(SharedBytes::CopyOf(bytes));
}

std::string Content(const ZipReader& zip, std::string_view name) {
  const ZipEntry* entry = zip.Find(name);
  if (entry == nullptr) return "(none)";
  const auto content = zip.Read(*entry, 8 << 20);
  return content.ok() ? std::string(content->text()) : content.status().ToString();
}

std::string OpenError(const std::string& bytes) {
  const auto zip = Open(bytes);
  if (zip.ok()) return "(opened)";
  EXPECT_EQ(GetFieldViolation(zip.status())->field, "model.pt");
  return std::string(zip.status().message());
}

TEST(ZipReaderTest, ReadsStoredAndDeflatedEntries) {
  const std::string text(5000, 'a');
  for (const bool zip64 : {false, true}) {
    const auto zip = Open(BuildZip(
        {{"a/one", "first"}, {"a/two", text, /*deflate=*/true}, {"a/three", "", false, true}},
        zip64));
    ASSERT_TRUE(zip.ok()) << zip.status();
    EXPECT_EQ(zip->entries().size(), 3u);
    EXPECT_EQ(Content(*zip, "a/one"), "first");
    EXPECT_EQ(Content(*zip, "a/two"), text);
    EXPECT_EQ(Content(*zip, "a/three"), "");
    EXPECT_EQ(zip->Find("a/four"), nullptr);
  }
}

TEST(ZipReaderTest, StoredEntriesAreViewsOfTheFile) {
  const auto zip = Open(BuildZip({{"a/one", "first"}}));
  ASSERT_TRUE(zip.ok());
  const ZipEntry* entry = zip->Find("a/one");
  const auto content = zip->Read(*entry, 100);
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content->data(), zip->file().data() + entry->data);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(content->data()) % 64, 0u);
}

TEST(ZipReaderTest, FindsTheOneEntryWithASuffix) {
  const auto zip = Open(BuildZip({{"x/data.pkl", "1"}, {"x/data/0", "2"}}));
  ASSERT_TRUE(zip.ok());
  EXPECT_EQ(zip->FindSuffix("/data.pkl")->name, "x/data.pkl");
  const auto two = Open(BuildZip({{"x/data.pkl", "1"}, {"y/data.pkl", "2"}}));
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->FindSuffix("/data.pkl"), nullptr);
}

TEST(ZipReaderTest, ChecksumMustMatchUnlessNotRecorded) {
  const auto wrong = Open(BuildZip({{"a", "content", false, true, 1u}}));
  ASSERT_TRUE(wrong.ok());
  EXPECT_THAT(Content(*wrong, "a"), HasSubstr("fails its checksum"));
  const auto absent = Open(BuildZip({{"a", "content", false, true, 0u}}));
  ASSERT_TRUE(absent.ok());
  EXPECT_EQ(Content(*absent, "a"), "content");
}

TEST(ZipReaderTest, RefusesEntriesLargerThanAsked) {
  const auto zip = Open(BuildZip({{"a", "content"}}));
  ASSERT_TRUE(zip.ok());
  EXPECT_THAT(zip->Read(*zip->Find("a"), 6).status().message(), HasSubstr("exceeds the limit"));
}

TEST(ZipReaderTest, RefusesDeflateBombs) {
  const auto bomb = Open(BuildZip({{"a", std::string(4 << 20, '\0'), true}}));
  ASSERT_TRUE(bomb.ok());
  EXPECT_THAT(Content(*bomb, "a"), HasSubstr("inflates"));
}

TEST(ZipReaderTest, RefusesDeflateStreamsOfAnotherSize) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += std::to_string(i);
  for (const uint64_t size : {uint64_t{10}, uint64_t{text.size() - 1}, uint64_t{text.size() + 1}}) {
    const auto zip = Open(BuildZip({{"a", text, true, false, {}, size}}));
    ASSERT_TRUE(zip.ok());
    EXPECT_THAT(Content(*zip, "a"), HasSubstr("broken deflate stream"));
  }
}

TEST(ZipReaderTest, RefusesOverlappingEntries) {
  // Both directory records point at the first local header.
  EXPECT_THAT(OpenError(BuildZip({{"a", "content"},
                                  {"b", "content", false, false, {}, {}, "a"},
                                  {"a", "x", false, false, {}, {}, "", 0}})),
              HasSubstr("disagrees"));
  ZipPart same{"a", "content", false, true};
  ZipPart again = same;
  again.header = 0;
  EXPECT_THAT(OpenError(BuildZip({same, again})), HasSubstr("overlap"));
  // A size that reaches into the next entry.
  EXPECT_THAT(
      OpenError(BuildZip({{"a", "content", false, true, {}, 100}, {"b", std::string(500, 'b')}})),
      HasSubstr("overlap"));
}

TEST(ZipReaderTest, RefusesNamesThatOccurTwice) {
  EXPECT_THAT(OpenError(BuildZip({{"a", "1"}, {"a", "2"}})), HasSubstr("twice"));
}

TEST(ZipReaderTest, RefusesSizesBeyondTheFile) {
  EXPECT_THAT(OpenError(BuildZip({{"a", "content", false, true, {}, 1'000'000}})),
              HasSubstr("does not fit"));
  EXPECT_THAT(OpenError(BuildZip({{"a", "content", false, true, {}, 0xffffffffu}})),
              HasSubstr("zip64 sizes are missing"));
}

TEST(ZipReaderTest, RefusesWhatIsNoZip) {
  EXPECT_THAT(OpenError(""), HasSubstr("no zip directory"));
  EXPECT_THAT(OpenError(std::string(100, 'x')), HasSubstr("at byte offset 100"));
}

TEST(ZipReaderTest, EveryTruncationIsAnError) {
  const std::string bytes = BuildZip({{"a/one", "first"}, {"a/two", "second", true}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Open(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(ZipReaderTest, ChangedBytesNeverHarm) {
  const std::string bytes = BuildZip({{"a/one", "first"}, {"a/two", "second", true}});
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const auto zip = Open(changed);
      if (!zip.ok()) continue;
      for (const ZipEntry& entry : zip->entries()) {
        const auto content = zip->Read(entry, 1 << 20);
        if (content.ok()) {
          EXPECT_LE(content->size(), 6u) << at;
        }
      }
    }
  }
}

}  // namespace
}  // namespace portolan
