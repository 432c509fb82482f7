#include "server/resource_names.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/field_error.h"

namespace portolan::server {
namespace {

TEST(ResourceNamesTest, ParsesWhatItWrites) {
  EXPECT_EQ(*ParseAtlasName("name", AtlasName("pbmc_1.0-b")), "pbmc_1.0-b");
  EXPECT_EQ(*ParseUploadName("name", UploadName("0a")), "0a");
  EXPECT_EQ(*ParseMappingName("name", MappingName("ff")), "ff");
  const absl::StatusOr<VersionName> version =
      ParseVersionName("version", VersionNameOf("pbmc", "latest"));
  ASSERT_TRUE(version.ok());
  EXPECT_EQ(version->atlas, "pbmc");
  EXPECT_EQ(version->version, "latest");
}

TEST(ResourceNamesTest, RefusesMalformedNames) {
  const std::string bad[] = {"",
                             "atlases",
                             "atlases/",
                             "/atlases/a",
                             "atlases/a/",
                             "atlases/a/b",
                             "atlas/a",
                             "Atlases/a",
                             "atlases/..",
                             "atlases/.hidden",
                             "atlases/a b",
                             "atlases/a%2fb",
                             "atlases/a\nb",
                             std::string("atlases/a\0", 10),
                             "atlases/\xc3\xa9",
                             "atlases/" + std::string(201, 'a'),
                             std::string(1 << 20, '/')};
  for (const std::string& name : bad) {
    const absl::Status status = ParseAtlasName("name", name).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name.substr(0, 80);
    const auto violation = GetFieldViolation(status);
    ASSERT_TRUE(violation.has_value());
    EXPECT_EQ(violation->field, "name");
    EXPECT_LT(violation->found.size(), 500u);
  }
  EXPECT_TRUE(ParseAtlasName("name", "atlases/" + std::string(200, 'a')).ok());
}

TEST(ResourceNamesTest, RefusesMalformedVersionNames) {
  for (const char* name : {"atlases/a", "atlases/a/versions", "atlases/a/versions/",
                           "atlases/a/versions/b/c", "atlases//versions/b", "versions/b"}) {
    EXPECT_FALSE(ParseVersionName("version", name).ok()) << name;
  }
}

}  // namespace
}  // namespace portolan::server
