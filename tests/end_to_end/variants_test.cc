#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"
#include "tests/paths.h"

namespace portolan::end_to_end {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Variants() { return SourceDir() + "/tests/data/variants"; }

/// The rarer kinds of models, mapped onto from file to result. The donors of the counts are no
/// batches of the models, so they make new ones.
class VariantsTest : public testing::Test {
 protected:
  Ended Map(const std::string& atlas, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        "map", Variants() + "/counts.h5ad",   "--atlas", atlas, "--epochs", "2",
        "-o",  directory_ / (atlas + ".h5ad")};
    if (std::find(more.begin(), more.end(), "--batch-key") == more.end()) {
      words.insert(words.end(), {"--batch-key", "donor"});
    }
    words.insert(words.end(), more.begin(), more.end());
    return server_.Run(words);
  }

  nlohmann::json MapJson(const std::string& atlas,
                         const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = more;
    words.push_back("--json");
    const Ended ended = Map(atlas, words);
    EXPECT_EQ(ended.status, 0) << atlas << ": " << ended.err;
    return nlohmann::json::parse(ended.out, nullptr, /*allow_exceptions=*/false);
  }

  static bool Noted(const nlohmann::json& report, const std::string& text) {
    for (const auto& note : report.at("notes")) {
      if (note.get<std::string>().find(text) != std::string::npos) return true;
    }
    return false;
  }

  TemporaryDirectory directory_;
  RunningServer server_{{.atlases = Variants()}};
};

TEST_F(VariantsTest, EveryKindIsMappedOnto) {
  for (const char* atlas : {"scvi_covariates", "scvi_covariates_one_batch", "scvi_size_factor",
                            "scvi_embedding", "scvi_gene_label", "scvi_gene_cell", "scvi_normal",
                            "scvi_ln", "scanvi_ln", "scanvi_covariates"}) {
    const nlohmann::json report = MapJson(atlas);
    EXPECT_EQ(report.at("extension_kind"), "adapter") << atlas;
    EXPECT_EQ(report.at("max_abs_dz"), 0) << atlas;
  }
}

TEST_F(VariantsTest, CovariatesAreFoundCheckedAndNamed) {
  ExpectRefused(Map("scvi_covariates", {"--covariate", "site=nowhere"}), "covariate");
  const Ended unknown = Map("scvi_covariates", {"--covariate", "site=batch"});
  ExpectRefused(unknown, "covariate");
  EXPECT_THAT(unknown.err, HasSubstr("north, south"));
  ExpectRefused(Map("scvi_size_factor", {"--size-factor-key", "cell_type"}), "size_factor_key");
  ExpectRefused(Map("scvi_gene_label", {"--labels-key", "donor"}), "labels_key");
  ExpectRefused(Map("scanvi_covariates", {"--labels-key", "donor"}), "labels_key");
  ExpectRefused(Map("scvi_normal", {"--labels-key", "cell_type"}), "labels_key");
}

TEST_F(VariantsTest, ColumnsStandWhereTheyBelongUnlessCompatibilityIsAskedFor) {
  const nlohmann::json right = MapJson("scvi_covariates");
  EXPECT_TRUE(Noted(right, "misplaces"));
  const nlohmann::json compat =
      MapJson("scvi_covariates", {"--compat", "scvi", "--strategy", "joint"});
  EXPECT_TRUE(Noted(compat, "compat=scvi"));
  EXPECT_EQ(compat.at("extension_kind"), "full delta");
  EXPECT_GT(compat.at("max_abs_dz"), 0);
}

TEST_F(VariantsTest, LabelledCellsTrainAlong) {
  const nlohmann::json plain = MapJson("scanvi_covariates");
  const nlohmann::json labelled = MapJson("scanvi_covariates", {"--labels-key", "cell_type"});
  EXPECT_TRUE(Noted(labelled, "came with a label"));
  EXPECT_FALSE(Noted(plain, "came with a label"));
  EXPECT_NE(plain.at("version"), labelled.at("version"));
}

TEST_F(VariantsTest, VersionsMadeSideBySideCompose) {
  const std::string donors = MapJson("scvi_covariates").at("version");
  const std::string sites = MapJson("scvi_covariates", {"--batch-key", "site"}).at("version");
  const nlohmann::json both =
      server_.RunJson({"atlas", "compose", "scvi_covariates", "--versions", donors + "," + sites});
  EXPECT_EQ(both.at("extension_kind"), "adapter");
  for (const char* batch : {"d1", "d2", "d3", "north", "south"}) {
    EXPECT_THAT(both.at("new_batches"), Contains(batch));
  }
  const nlohmann::json compat = MapJson(
      "scvi_covariates", {"--batch-key", "site", "--compat", "scvi", "--strategy", "joint"});
  const Ended refused = server_.Run({"atlas", "compose", "scvi_covariates", "--versions",
                                     donors + "," + compat.at("version").get<std::string>()});
  ExpectRefused(refused, "versions");
  EXPECT_THAT(refused.err, HasSubstr("full delta"));
}

TEST_F(VariantsTest, ShowSaysWhatAModelReads) {
  const Ended shown = server_.Run({"atlas", "show", "scvi_covariates"});
  EXPECT_THAT(shown.out, HasSubstr("donor: d1, d2, d3"));
  EXPECT_THAT(shown.out, HasSubstr("age: a number"));
  EXPECT_THAT(shown.out, Not(HasSubstr("size factor")));
  const nlohmann::json model = server_.RunJson({"atlas", "show", "scvi_size_factor"});
  EXPECT_EQ(model.at("reads").at("size_factor_key"), "size_factor");
  const nlohmann::json label = server_.RunJson({"atlas", "show", "scvi_gene_label"});
  EXPECT_EQ(label.at("reads").at("label_categories").size(), 4u);
  EXPECT_EQ(server_.RunJson({"atlas", "show", "scvi_embedding"}).at("batch_embedding"), true);
}

}  // namespace
}  // namespace portolan::end_to_end
