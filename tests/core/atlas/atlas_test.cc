#include "core/atlas/atlas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class AtlasTest : public testing::Test {
 protected:
  std::shared_ptr<const AtlasVersion> Add(const std::shared_ptr<const AtlasVersion>& parent,
                                          const std::string& batch, uint64_t seed = 1) {
    return atlas_->Add(parent, RandomAdapter(*parent->model, {batch}, seed)).value();
  }

  std::unique_ptr<Atlas> atlas_ = Atlas::Open("tiny", VariantDirectory("scvi_poisson"), "").value();
};

TEST_F(AtlasTest, OpensWithItsReference) {
  EXPECT_EQ(atlas_->name(), "tiny");
  const auto reference = atlas_->reference();
  EXPECT_EQ(reference->id, ReadVariant("scvi_poisson").digest.substr(0, 16));
  EXPECT_EQ(reference->parent_id, "");
  EXPECT_THAT(reference->lineage, ElementsAre(reference->id));
  EXPECT_EQ(reference->extension_kind, "reference");
  EXPECT_THAT(reference->new_batches, SizeIs(0));
  EXPECT_EQ(reference->max_abs_probe_shift, 0);
  EXPECT_THAT(atlas_->Versions(), ElementsAre(reference));
  EXPECT_THAT(atlas_->description().batches.categories, ElementsAre("a", "b"));
  EXPECT_THAT(atlas_->store_warnings(), SizeIs(0));
}

TEST_F(AtlasTest, ADirectoryWithoutAModelIsNotFound) {
  EXPECT_EQ(Atlas::Open("none", TempPath("none"), "").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AtlasTest, FindsByIdPrefixAndName) {
  const auto version = Add(atlas_->reference(), "q");
  EXPECT_EQ(atlas_->Find(version->id).value(), version);
  EXPECT_EQ(atlas_->Find(version->id.substr(0, 6)).value(), version);
  EXPECT_EQ(atlas_->Find(version->id.substr(0, 4)).value(), version);
  EXPECT_EQ(atlas_->Find("reference").value(), atlas_->reference());
  EXPECT_EQ(atlas_->Find(atlas_->reference()->id).value(), atlas_->reference());
  EXPECT_EQ(atlas_->Find("latest").value(), version);
}

TEST_F(AtlasTest, LatestIsTheReferenceUntilSomethingIsAdded) {
  EXPECT_EQ(atlas_->Find("latest").value(), atlas_->reference());
}

TEST_F(AtlasTest, WhatDoesNotExistIsNotFoundAndListsWhatDoes) {
  const auto version = Add(atlas_->reference(), "q");
  for (const std::string& id : {std::string(), version->id.substr(0, 3), version->id + "0",
                                std::string("zzzz"), std::string("Latest")}) {
    const absl::Status status = atlas_->Find(id).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << id;
    ASSERT_TRUE(GetFieldViolation(status).has_value());
    EXPECT_EQ(GetFieldViolation(status)->field, "version");
    EXPECT_THAT(GetFieldViolation(status)->remedy, HasSubstr(version->id));
    EXPECT_THAT(GetFieldViolation(status)->remedy, HasSubstr(atlas_->reference()->id));
  }
}

TEST_F(AtlasTest, AnAmbiguousPrefixIsRefused) {
  // Adapters until two ids share four digits: among 1,000 of 65,536 some do.
  const auto reference = atlas_->reference();
  std::map<std::string, int> prefixes;
  Extension adapter = RandomAdapter(*reference->model, {"q"});
  std::string shared;
  for (int i = 0; i < 5000 && shared.empty(); ++i) {
    adapter.batches = {absl::StrCat("q", i)};
    const auto version = atlas_->Add(reference, adapter).value();
    const std::string prefix = version->id.substr(0, 4);
    if (++prefixes[prefix] == 2) shared = prefix;
  }
  ASSERT_FALSE(shared.empty());
  const absl::Status status = atlas_->Find(shared).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("several"));
}

TEST_F(AtlasTest, AddsAVersionThatNamesItsParentAndBatches) {
  const auto version = Add(atlas_->reference(), "q");
  EXPECT_THAT(version->id, SizeIs(16));
  EXPECT_EQ(version->parent_id, atlas_->reference()->id);
  EXPECT_THAT(version->lineage, ElementsAre(atlas_->reference()->id, version->id));
  EXPECT_THAT(version->new_batches, ElementsAre("q"));
  EXPECT_EQ(version->extension_kind, "adapter");
  EXPECT_EQ(
      version->extension_bytes,
      static_cast<int64_t>(BytesOf(RandomAdapter(*atlas_->reference()->model, {"q"})).size()));
  EXPECT_EQ(version->max_abs_probe_shift, 0);
  EXPECT_EQ(version->model->BatchCode("q"), 2);
  EXPECT_EQ(atlas_->reference()->model->BatchCode("q"), -1);
  EXPECT_THAT(atlas_->description().batches.categories, ElementsAre("a", "b"));
}

TEST_F(AtlasTest, TheSameContentIsTheSameVersion) {
  const auto one = Add(atlas_->reference(), "q");
  const auto other = Add(atlas_->reference(), "q");
  EXPECT_EQ(one, other);
  EXPECT_THAT(atlas_->Versions(), SizeIs(2));
  EXPECT_NE(Add(atlas_->reference(), "q", /*seed=*/2)->id, one->id);
  EXPECT_NE(Add(atlas_->reference(), "r")->id, one->id);
}

TEST_F(AtlasTest, TheSameAdapterOnAnotherParentIsAnotherVersion) {
  const Extension adapter = RandomAdapter(*atlas_->reference()->model, {"q"});
  const auto on_reference = atlas_->Add(atlas_->reference(), adapter).value();
  const auto on_other = atlas_->Add(Add(atlas_->reference(), "first"), adapter).value();
  EXPECT_NE(on_reference->id, on_other->id);
}

TEST_F(AtlasTest, TheSameContentHasTheSameIdInAnotherAtlas) {
  const auto other = Atlas::Open("other", VariantDirectory("scvi_poisson"), "").value();
  const Extension adapter = RandomAdapter(*atlas_->reference()->model, {"q"});
  EXPECT_EQ(other->Add(other->reference(), adapter).value()->id,
            atlas_->Add(atlas_->reference(), adapter).value()->id);
}

TEST_F(AtlasTest, VersionsFormALineage) {
  const auto q = Add(atlas_->reference(), "q");
  const auto q2 = Add(q, "q2");
  const auto sibling = Add(atlas_->reference(), "s");
  EXPECT_THAT(q2->lineage, ElementsAre(atlas_->reference()->id, q->id, q2->id));
  EXPECT_EQ(q2->parent_id, q->id);
  EXPECT_THAT(q2->model->description().batches.categories, ElementsAre("a", "b", "q", "q2"));
  EXPECT_EQ(q2->max_abs_probe_shift, 0);
  EXPECT_THAT(sibling->lineage, ElementsAre(atlas_->reference()->id, sibling->id));
  EXPECT_EQ(sibling->model->BatchCode("q"), -1);
  EXPECT_THAT(atlas_->Versions(), ElementsAre(atlas_->reference(), q, q2, sibling));
}

TEST_F(AtlasTest, AnExtensionThatDoesNotFitIsRefusedAndLeavesNothing) {
  const auto q = Add(atlas_->reference(), "q");
  const absl::Status status = atlas_->Add(q, RandomAdapter(*q->model, {"q"})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(atlas_->Versions(), SizeIs(2));
}

TEST_F(AtlasTest, AFullDeltaSaysSoAndShowsItsShift) {
  Extension delta = RandomAdapter(*atlas_->reference()->model, {"q"});
  const std::string key = "z_encoder.mean_encoder.bias";
  const HostTensor bias = StateDict(*atlas_->reference()->model).value().at(key);
  std::vector<float> moved(bias.floats().begin(), bias.floats().end());
  moved[2] += 0.25f;
  delta.replaced[key] = HostTensor::FromFloats(bias.shape(), moved);
  const auto version = atlas_->Add(atlas_->reference(), delta).value();
  EXPECT_EQ(version->extension_kind, "full delta");
  EXPECT_NEAR(version->max_abs_probe_shift, 0.25, 1e-5);
}

TEST_F(AtlasTest, ManyThreadsThatAddTheSameMakeOneVersion) {
  const Extension adapter = RandomAdapter(*atlas_->reference()->model, {"q"});
  std::vector<std::string> ids(8);
  std::vector<std::thread> threads;
  for (std::string& id : ids) {
    threads.emplace_back([&] { id = atlas_->Add(atlas_->reference(), adapter).value()->id; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(ids, testing::Each(ids[0]));
  EXPECT_THAT(atlas_->Versions(), SizeIs(2));
}

}  // namespace
}  // namespace portolan
