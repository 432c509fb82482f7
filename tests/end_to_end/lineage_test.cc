#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::ElementsAre;
using Strings = std::vector<std::string>;

/// vae -> vae_q -> vae_q2: the demo's two batches, the second mapped onto the version of the first.
class LineageTest : public testing::Test {
 protected:
  LineageTest() {
    const QueryCells query = QueryCells::Read(DemoQuery());
    query.SelectBatch("lab_d").Write(first_query_);
    query.SelectBatch("lab_e").Write(second_query_);
  }

  void MapBoth(const RunningServer& server) {
    const nlohmann::json first =
        server.Map(first_query_, directory_ / "first.h5ad", {"--epochs", "5"});
    first_version_ = first.value("version", "");
    const nlohmann::json second = server.Map(second_query_, directory_ / "second.h5ad",
                                             {"--epochs", "5", "--version", first_version_});
    second_version_ = second.value("version", "");
    EXPECT_EQ(second["parent"], first_version_);
    first_latent_ = LatentByCell(directory_ / "first.h5ad");
    second_latent_ = LatentByCell(directory_ / "second.h5ad");
    EXPECT_EQ(first_latent_.size(), 500u);
    EXPECT_EQ(second_latent_.size(), 400u);
  }

  std::map<std::string, std::string> Embed(const RunningServer& server, const std::string& query,
                                           const std::string& version) const {
    const std::string output = directory_ / "embedded.h5ad";
    const nlohmann::json report =
        server.Embed(query, output, {"--batch-key", "batch", "--version", version});
    EXPECT_EQ(report["version"], version);
    return LatentByCell(output);
  }

  TemporaryDirectory directory_;
  const std::string first_query_ = directory_ / "lab_d.h5ad";
  const std::string second_query_ = directory_ / "lab_e.h5ad";
  std::string first_version_;
  std::string second_version_;
  std::map<std::string, std::string> first_latent_;
  std::map<std::string, std::string> second_latent_;
};

TEST_F(LineageTest, AMappingOntoAMappingMovesNothing) {
  RunningServer server;
  MapBoth(server);
  EXPECT_EQ(ReadNumber(directory_ / "first.h5ad", "max_abs_dz"), 0.0);
  EXPECT_EQ(ReadNumber(directory_ / "second.h5ad", "max_abs_dz"), 0.0);
  EXPECT_TRUE(Embed(server, first_query_, first_version_) == first_latent_);
  EXPECT_TRUE(Embed(server, first_query_, second_version_) == first_latent_);
  EXPECT_TRUE(Embed(server, second_query_, second_version_) == second_latent_);
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(LineageTest, OneAfterTheOtherIsTheSameAsBothAtOnce) {
  RunningServer server;
  MapBoth(server);
  const std::string both = directory_ / "both.h5ad";
  server.Map(DemoQuery(), both, {"--epochs", "5"});
  std::map<std::string, std::string> expected = first_latent_;
  expected.insert(second_latent_.begin(), second_latent_.end());
  EXPECT_TRUE(LatentByCell(both) == expected);
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(LineageTest, MappingAKnownBatchTrainsNothing) {
  RunningServer server;
  MapBoth(server);
  const std::string again = directory_ / "again.h5ad";
  const nlohmann::json report =
      server.Map(first_query_, again, {"--epochs", "5", "--version", second_version_});
  EXPECT_EQ(report["batches"]["lab_d"]["trained"], false);
  EXPECT_EQ(report["steps"]["lab_d"], 0);
  EXPECT_TRUE(LatentByCell(again) == first_latent_);
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(LineageTest, VersionsShowWhereTheyComeFrom) {
  RunningServer server;
  MapBoth(server);
  const nlohmann::json versions = server.RunJson({"versions", kDemoAtlas})["versions"];
  ASSERT_EQ(versions.size(), 3u);
  const std::string reference = versions[0]["id"];
  EXPECT_EQ(versions[1]["id"], first_version_);
  EXPECT_EQ(versions[1]["parent"], reference);
  EXPECT_EQ(versions[1]["extension_kind"], "adapter");
  EXPECT_THAT(versions[1]["new_batches"].get<Strings>(), ElementsAre("lab_d"));
  EXPECT_EQ(versions[2]["id"], second_version_);
  EXPECT_EQ(versions[2]["parent"], first_version_);
  EXPECT_THAT(versions[2]["new_batches"].get<Strings>(), ElementsAre("lab_e"));
  EXPECT_THAT(versions[2]["batches"].get<Strings>(),
              ElementsAre("lab_a", "lab_b", "lab_c", "lab_d", "lab_e"));
  EXPECT_THAT(versions[2]["lineage"].get<Strings>(),
              ElementsAre(reference, first_version_, second_version_));

  const Ended text = server.Run({"versions", kDemoAtlas});
  EXPECT_THAT(text.out, testing::HasSubstr(second_version_.substr(0, 12)));
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(LineageTest, VersionsOutliveTheServerInItsDataDirectory) {
  const ServerArguments arguments = {.data = directory_ / "data"};
  nlohmann::json before;
  {
    RunningServer server(arguments);
    MapBoth(server);
    before = server.RunJson({"versions", kDemoAtlas});
    EXPECT_EQ(server.Stop(), 0);
  }
  RunningServer server(arguments);
  EXPECT_EQ(server.RunJson({"versions", kDemoAtlas}), before);
  EXPECT_TRUE(Embed(server, first_query_, first_version_) == first_latent_);
  EXPECT_TRUE(Embed(server, first_query_, second_version_) == first_latent_);
  EXPECT_TRUE(Embed(server, second_query_, second_version_) == second_latent_);
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(LineageTest, WithoutADataDirectoryVersionsGoWithTheServer) {
  {
    RunningServer server;
    MapBoth(server);
    EXPECT_EQ(server.Stop(), 0);
  }
  RunningServer server;
  EXPECT_EQ(server.RunJson({"versions", kDemoAtlas})["versions"].size(), 1u);
  const Ended ended = server.Run({"embed", first_query_, "--atlas", kDemoAtlas, "--batch-key",
                                  "batch", "--version", first_version_, "-o", directory_ / "x"});
  ExpectRefused(ended, "version");
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace portolan::end_to_end
