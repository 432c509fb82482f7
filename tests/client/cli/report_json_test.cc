#include "client/cli/report_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace portolan::client {
namespace {

using nlohmann::json;
using testing::ElementsAre;

v1::MappingReport Report() {
  v1::MappingReport report;
  report.set_version_id("bbbb");
  report.set_seed(UINT64_MAX);
  report.set_max_abs_probe_shift(0);
  report.mutable_genes()->add_missing("g2");
  for (const char* name : {"a/b", "a_b", ""}) {
    v1::BatchReport* batch = report.add_batches();
    batch->set_batch(name);
    batch->set_epochs(2);
    batch->set_steps(14);
    batch->add_train_loss(3);
    batch->add_train_loss(2);
  }
  return report;
}

ResultContext Context() {
  ResultContext context;
  context.atlas = "toy";
  context.model.set_model_class("SCVI");
  return context;
}

TEST(KeysOfTest, KeysAreWholeAndApart) {
  const std::vector<std::string> names = {"a/b", "a_b", "", ".", "plain", "a//b", "a__b"};
  const std::vector<std::string> keys = KeysOf(names, BatchKeys::kHdf5);
  EXPECT_EQ(keys[1], "a_b");  // unchanged names keep theirs
  EXPECT_EQ(keys[4], "plain");
  EXPECT_EQ(keys[6], "a__b");
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), names.size());
  for (const std::string& key : keys) {
    EXPECT_EQ(key.find('/'), std::string::npos);
    EXPECT_FALSE(key.empty() || key == ".");
  }
  EXPECT_EQ(KeysOf(names, BatchKeys::kNames), names);
}

TEST(ReportJsonTest, DictsPerBatchUnderTheirNames) {
  const json out = ReportJson(Report(), Context(), BatchKeys::kNames);
  EXPECT_EQ(out["epochs"]["a/b"], 2);
  EXPECT_EQ(out["steps"]["a_b"], 14);
  EXPECT_EQ(out["losses"]["a/b"], json({3.0, 2.0}));
  EXPECT_EQ(out["batches"]["a/b"]["train_loss"].size(), 2u);
  EXPECT_EQ(out["version"], "bbbb");
  EXPECT_EQ(out["seed"], UINT64_MAX);
  EXPECT_EQ(out["max_abs_dz"], 0.0);
  EXPECT_EQ(out["genes"]["missing"][0], "g2");
  EXPECT_EQ(out["model"], "SCVI");
}

TEST(ReportJsonTest, Hdf5KeysKeepTheNamesBeside) {
  const json out = ReportJson(Report(), Context(), BatchKeys::kHdf5);
  EXPECT_EQ(out["batches"].size(), 3u);
  EXPECT_FALSE(out["batches"].contains("a/b"));
  EXPECT_EQ(out["batch_names"], json({"a/b", "a_b", ""}));
  for (const json& key : out["batch_keys"]) EXPECT_TRUE(out["losses"].contains(key));
}

TEST(AtlasJsonTest, GenesIsANumberAndLabelsKeepCodeOrder) {
  v1::Atlas atlas;
  atlas.set_name("atlases/toy");
  atlas.mutable_model()->set_n_genes(2);
  atlas.mutable_model()->add_labels("z");
  atlas.mutable_model()->add_labels("a");
  v1::Version reference;
  reference.add_batches("b2");
  reference.add_batches("b1");
  reference.add_genes("g0");
  json out = AtlasDetailJson(atlas, reference, {}, false);
  EXPECT_EQ(out["name"], "toy");
  EXPECT_EQ(out["genes"], 2);
  EXPECT_EQ(out["labels"], json({"z", "a"}));
  EXPECT_EQ(out["batches"], json({"b2", "b1"}));
  EXPECT_FALSE(out.contains("gene_names"));
  out = AtlasDetailJson(atlas, reference, {}, true);
  EXPECT_EQ(out["gene_names"], json({"g0"}));
}

TEST(LabelCountsTest, LeavesOutEmptyLabels) {
  EXPECT_EQ(LabelCountsJson({"B", "T", "NK"}, {2, 0, 2}), json({{"B", 1}, {"NK", 2}}));
}

TEST(JsonTextTest, BadUtf8IsReplaced) {
  EXPECT_NO_THROW(json::parse(JsonText({{"name", "\xff"}})));
}

}  // namespace
}  // namespace portolan::client
