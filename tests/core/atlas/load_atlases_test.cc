#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/atlas/atlas.h"
#include "core/base/field_error.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Key;
using testing::SizeIs;

class LoadAtlasesTest : public testing::Test {
 protected:
  LoadAtlasesTest() { fs::create_directories(directory_); }
  ~LoadAtlasesTest() override {
    fs::remove_all(directory_);
    fs::remove_all(data_);
  }

  void Install(const std::string& name, const std::string& variant) {
    fs::create_directories(directory_ / name);
    fs::copy_file(fs::path(VariantDirectory(variant)) / "model.pt", directory_ / name / "model.pt");
  }

  fs::path directory_ = TempPath("atlases");
  fs::path data_ = TempPath("data");
};

TEST_F(LoadAtlasesTest, OpensEveryFolderByItsName) {
  Install("blood", "scvi_poisson");
  Install("lung-2.0_core", "scanvi_batchnorm");
  const AtlasCatalog catalog = LoadAtlases(directory_, "").value();
  EXPECT_THAT(catalog.atlases, ElementsAre(Key("blood"), Key("lung-2.0_core")));
  EXPECT_THAT(catalog.refused, SizeIs(0));
  EXPECT_EQ(catalog.atlases.at("blood")->name(), "blood");
  EXPECT_EQ(catalog.atlases.at("lung-2.0_core")->description().model_class, ModelClass::kScanvi);
}

TEST_F(LoadAtlasesTest, GoesOnPastBrokenFoldersAndSaysWhy) {
  Install("blood", "scvi_poisson");
  fs::create_directories(directory_ / "empty");
  fs::create_directories(directory_ / "garbage");
  std::ofstream(directory_ / "garbage" / "model.pt") << "this is no model";
  Install("truncated", "scvi_poisson");
  fs::resize_file(directory_ / "truncated" / "model.pt", 9000);
  std::ofstream(directory_ / "stray_file") << "not a folder";
  const AtlasCatalog catalog = LoadAtlases(directory_, "").value();
  EXPECT_THAT(catalog.atlases, ElementsAre(Key("blood")));
  EXPECT_THAT(catalog.refused, ElementsAre(Key("empty"), Key("garbage"), Key("truncated")));
  EXPECT_EQ(catalog.refused.at("empty").code(), absl::StatusCode::kNotFound);
  for (const char* name : {"garbage", "truncated"}) {
    const absl::Status& status = catalog.refused.at(name);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(GetFieldViolation(status).has_value()) << name;
  }
}

TEST_F(LoadAtlasesTest, NamesThatAreNoResourceNamesAreRefused) {
  for (const char* name : {"with space", ".hidden", "p\xc3\xa4ncreas", "a:b", "blood"}) {
    Install(name, "scvi_poisson");
  }
  const AtlasCatalog catalog = LoadAtlases(directory_, "").value();
  EXPECT_THAT(catalog.atlases, ElementsAre(Key("blood")));
  ASSERT_THAT(catalog.refused, SizeIs(4));
  for (const auto& [name, status] : catalog.refused) {
    ASSERT_TRUE(GetFieldViolation(status).has_value()) << name;
    EXPECT_EQ(GetFieldViolation(status)->field, "name");
  }
}

TEST_F(LoadAtlasesTest, ADirectoryThatIsNoneIsNotFound) {
  const absl::Status status = LoadAtlases(directory_ / "nowhere", "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_THAT(LoadAtlases(directory_, "").value().atlases, SizeIs(0));
}

TEST_F(LoadAtlasesTest, VersionsAreKeptApartByAtlas) {
  Install("one", "scvi_poisson");
  Install("two", "scvi_poisson");
  std::string id;
  {
    const AtlasCatalog catalog = LoadAtlases(directory_, data_).value();
    Atlas& one = *catalog.atlases.at("one");
    id = one.Add(one.reference(), RandomAdapter(*one.reference()->model, {"q"})).value()->id;
  }
  const AtlasCatalog catalog = LoadAtlases(directory_, data_).value();
  EXPECT_TRUE(catalog.atlases.at("one")->Find(id).ok());
  EXPECT_FALSE(catalog.atlases.at("two")->Find(id).ok());
  // Nothing is written beside the models.
  EXPECT_THAT(std::vector<fs::path>(fs::directory_iterator(directory_ / "one"), {}), SizeIs(1));
}

}  // namespace
}  // namespace portolan
