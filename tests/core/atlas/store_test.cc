#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/atlas/atlas.h"
#include "core/atlas/version_store.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class StoreTest : public testing::Test {
 protected:
  ~StoreTest() override { fs::remove_all(directory_); }

  std::unique_ptr<Atlas> Open(const std::string& variant = "scvi_poisson") {
    return Atlas::Open("tiny", VariantDirectory(variant), directory_).value();
  }

  // vae -> q -> q2 and vae -> s, stored.
  void Fill() {
    const auto atlas = Open();
    const auto reference = atlas->reference();
    const auto q = atlas->Add(reference, RandomAdapter(*reference->model, {"q"})).value();
    const auto q2 = atlas->Add(q, RandomAdapter(*q->model, {"q2"})).value();
    const auto s = atlas->Add(reference, RandomAdapter(*reference->model, {"s"})).value();
    ids_ = {reference->id, q->id, q2->id, s->id};
  }

  static std::vector<std::string> Ids(const Atlas& atlas) {
    std::vector<std::string> ids;
    for (const auto& version : atlas.Versions()) ids.push_back(version->id);
    return ids;
  }

  fs::path Manifest(const std::string& id) const {
    return fs::path(directory_) / id / "manifest.json";
  }
  fs::path ExtensionFile(const std::string& id) const {
    return fs::path(directory_) / id / "extension.safetensors";
  }

  // Edits the manifest of a version.
  template <typename Edit>
  void EditManifest(const std::string& id, const Edit& edit) {
    nlohmann::json manifest = nlohmann::json::parse(ReadFile(Manifest(id)));
    edit(manifest);
    WriteFile(Manifest(id), manifest.dump());
  }

  std::string directory_ = TempPath("store");
  std::vector<std::string> ids_;
};

TEST_F(StoreTest, VersionsComeBackAsTheyWere) {
  Fill();
  const auto before = Open();
  const auto atlas = Open();
  EXPECT_EQ(Ids(*atlas), ids_);
  EXPECT_THAT(atlas->store_warnings(), SizeIs(0));
  const auto q2 = atlas->Find(ids_[2]).value();
  EXPECT_THAT(q2->lineage, ElementsAre(ids_[0], ids_[1], ids_[2]));
  EXPECT_THAT(q2->new_batches, ElementsAre("q2"));
  EXPECT_EQ(q2->extension_kind, "adapter");
  EXPECT_EQ(q2->max_abs_probe_shift, 0);
  EXPECT_EQ(q2->create_time, before->Find(ids_[2]).value()->create_time);
  EXPECT_GT(q2->extension_bytes, 0);
}

TEST_F(StoreTest, AReloadedVersionEmbedsBitForBitAlike) {
  const auto first = Open();
  const auto added =
      first->Add(first->reference(), RandomAdapter(*first->reference()->model, {"q"})).value();
  const auto reloaded = Open()->Find(added->id).value();
  const std::vector<int32_t> codes(200, added->model->BatchCode("q"));
  EXPECT_EQ(Encode(*added->model, {Cells().counts, codes}, CancelToken()).value().mean,
            Encode(*reloaded->model, {Cells().counts, codes}, CancelToken()).value().mean);
}

TEST_F(StoreTest, AFullDeltaComesBack) {
  const auto first = Open();
  Extension delta = RandomAdapter(*first->reference()->model, {"q"});
  delta.replaced["z_encoder.mean_encoder.bias"] =
      HostTensor::FromFloats({5}, std::vector<float>{1, 2, 3, 4, 5});
  delta.reasons = {"a test"};
  const auto added = first->Add(first->reference(), delta).value();
  const auto reloaded = Open()->Find(added->id).value();
  EXPECT_EQ(reloaded->extension_kind, "full delta");
  EXPECT_EQ(reloaded->max_abs_probe_shift, added->max_abs_probe_shift);
  EXPECT_GT(reloaded->max_abs_probe_shift, 0);
}

TEST_F(StoreTest, ANewStoreIsEmpty) {
  const auto atlas = Open();
  EXPECT_THAT(atlas->Versions(), SizeIs(1));
  EXPECT_THAT(atlas->store_warnings(), SizeIs(0));
}

TEST_F(StoreTest, AVersionThatWasNeverFinishedIsInvisible) {
  Fill();
  fs::remove(Manifest(ids_[3]));
  fs::create_directories(fs::path(directory_) / "0123456789abcdef");
  WriteFile(fs::path(directory_) / "0123456789abcdef" / "manifest.json.partial", "{");
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[1], ids_[2]));
  EXPECT_THAT(atlas->store_warnings(), SizeIs(0));
  // It can be made again.
  const Extension adapter = RandomAdapter(*atlas->reference()->model, {"s"});
  EXPECT_EQ(atlas->Add(atlas->reference(), adapter).value()->id, ids_[3]);
  EXPECT_THAT(Ids(*Open()), SizeIs(4));
}

TEST_F(StoreTest, ADamagedExtensionIsLeftOutAndItsChildrenWithIt) {
  Fill();
  std::string bytes = ReadFile(ExtensionFile(ids_[1]));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteFile(ExtensionFile(ids_[1]), bytes);
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[3]));
  ASSERT_THAT(atlas->store_warnings(), SizeIs(2));
  EXPECT_THAT(atlas->store_warnings()[0], HasSubstr(ids_[1]));
  EXPECT_THAT(atlas->store_warnings()[0], HasSubstr("checksum"));
  EXPECT_THAT(atlas->store_warnings()[1], HasSubstr(ids_[2]));
  EXPECT_THAT(atlas->store_warnings()[1], HasSubstr("parent"));
}

TEST_F(StoreTest, AnExtensionThatIsGoneIsLeftOut) {
  Fill();
  fs::remove(ExtensionFile(ids_[3]));
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[1], ids_[2]));
  EXPECT_THAT(atlas->store_warnings(), ElementsAre(HasSubstr(ids_[3])));
}

TEST_F(StoreTest, AnOrphanIsLeftOut) {
  Fill();
  fs::remove_all(fs::path(directory_) / ids_[1]);
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[3]));
  EXPECT_THAT(atlas->store_warnings(),
              ElementsAre(testing::AllOf(HasSubstr(ids_[2]), HasSubstr(ids_[1]))));
}

TEST_F(StoreTest, VersionsOfAnotherReferenceAreLeftOut) {
  Fill();
  const auto atlas = Open("scvi_nolog");
  EXPECT_THAT(atlas->Versions(), SizeIs(1));
  EXPECT_THAT(atlas->store_warnings(), SizeIs(3));
}

TEST_F(StoreTest, ADamagedManifestIsLeftOutWithItsReason) {
  Fill();
  const std::string good = ReadFile(Manifest(ids_[3]));
  std::vector<std::string> bad = {
      "", "{", "[]", "null", "{}", std::string(100000, '['), std::string("\xff\xfe\x00", 3)};
  for (const char* field : {"id", "parent", "sha256", "create_time"}) {
    nlohmann::json manifest = nlohmann::json::parse(good);
    manifest.erase(field);
    bad.push_back(manifest.dump());
    manifest[field] = 7;
    bad.push_back(manifest.dump());
    manifest[field] = "no such thing";
    bad.push_back(manifest.dump());
  }
  for (const std::string& text : bad) {
    WriteFile(Manifest(ids_[3]), text);
    const auto atlas = Open();
    EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[1], ids_[2])) << text.substr(0, 80);
    EXPECT_THAT(atlas->store_warnings(), ElementsAre(HasSubstr(ids_[3]))) << text.substr(0, 80);
  }
}

TEST_F(StoreTest, AForgedIdIsLeftOut) {
  Fill();
  EditManifest(ids_[3], [&](nlohmann::json& manifest) { manifest["id"] = ids_[1]; });
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), ElementsAre(ids_[0], ids_[1], ids_[2]));
  EXPECT_THAT(atlas->store_warnings(), ElementsAre(HasSubstr("id")));
}

TEST_F(StoreTest, ParentsAreLoadedBeforeChildrenWhateverTheClockSaid) {
  Fill();
  // The child claims to be older than its parent.
  EditManifest(ids_[2], [](nlohmann::json& manifest) {
    manifest["create_time"] = "2001-01-01T00:00:00+00:00";
  });
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), testing::UnorderedElementsAreArray(ids_));
  EXPECT_THAT(atlas->store_warnings(), SizeIs(0));
  EXPECT_THAT(atlas->Find(ids_[2]).value()->lineage, SizeIs(3));
}

TEST_F(StoreTest, StrayFilesAreIgnored) {
  Fill();
  WriteFile(fs::path(directory_) / "README", "not a version");
  fs::create_directories(fs::path(directory_) / "empty");
  const auto atlas = Open();
  EXPECT_THAT(Ids(*atlas), SizeIs(4));
  EXPECT_THAT(atlas->store_warnings(), SizeIs(0));
}

TEST_F(StoreTest, AStoreThatCannotBeWrittenIsUnavailableAndAddsNothing) {
  WriteFile(directory_, "a file where the directory should be");
  const auto atlas = Open();
  const auto added =
      atlas->Add(atlas->reference(), RandomAdapter(*atlas->reference()->model, {"q"}));
  EXPECT_EQ(added.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(atlas->Versions(), SizeIs(1));
}

TEST_F(StoreTest, NoPartialFilesAreLeftBehind) {
  Fill();
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    EXPECT_THAT(entry.path().string(), testing::Not(testing::EndsWith(".partial")));
  }
}

TEST(VersionIdTest, DependsOnParentAndContent) {
  EXPECT_EQ(VersionId("p", "bytes"), VersionId("p", "bytes"));
  EXPECT_NE(VersionId("p", "bytes"), VersionId("q", "bytes"));
  EXPECT_NE(VersionId("p", "bytes"), VersionId("p", "byteS"));
  EXPECT_THAT(VersionId("p", "bytes"), SizeIs(16));
}

}  // namespace
}  // namespace portolan
