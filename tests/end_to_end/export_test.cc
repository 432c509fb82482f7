#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <map>
#include <string>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::Contains;

/// A version goes out, and comes back as the reference of another server.
TEST(ExportTest, AnExportedVersionIsAReference) {
  const TemporaryDirectory directory;
  const std::string query = directory / "query.h5ad";
  QueryCells::Read(DemoQuery()).SelectBatch("lab_d").FirstRows(60).Write(query);
  std::map<std::string, std::string> mapped;
  {
    RunningServer server;
    const nlohmann::json report = server.Map(query, directory / "mapped.h5ad", {"--epochs", "3"});
    mapped = LatentByCell(directory / "mapped.h5ad");
    std::filesystem::create_directory(directory / "atlases");
    const nlohmann::json exported =
        server.RunJson({"atlas", "export", kDemoAtlas, "--version", report.value("version", ""),
                        "-o", directory / "atlases/again"});
    EXPECT_EQ(exported["version_id"], report["version"]);
    EXPECT_EQ(exported["scvi_version"], "1.4.2");
    const TemporaryDirectory elsewhere;
    const Ended refused =
        server.Run({"atlas", "export", kDemoAtlas, "--version", "ffff", "-o", elsewhere / "none"});
    ExpectRefused(refused, "version");
    EXPECT_THAT(elsewhere.Entries(), ::testing::IsEmpty());
    EXPECT_EQ(server.Stop(), 0);
  }
  RunningServer again({.atlases = directory / "atlases"});
  const nlohmann::json atlas = again.RunJson({"atlas", "show", "again"});
  EXPECT_THAT(atlas["batches"], Contains("lab_d"));
  const std::string embedded = directory / "embedded.h5ad";
  const Ended ended =
      again.Run({"embed", query, "--atlas", "again", "--batch-key", "batch", "-o", embedded});
  ASSERT_EQ(ended.status, 0) << ended.err;
  EXPECT_TRUE(LatentByCell(embedded) == mapped);
  EXPECT_EQ(again.Stop(), 0);
}

/// Every saved model of the test data, whatever its age and format, is hosted and described.
TEST(SavedModelsTest, AllAreHosted) {
  const std::string models = TestData("models");
  if (models.empty()) {
    GTEST_SKIP() << "no test data: models/ (set PORTOLAN_TEST_DATA to the folder that holds it)";
  }
  RunningServer server({.atlases = models});
  const nlohmann::json list = server.RunJson({"atlas", "list"});
  EXPECT_TRUE(list["refused"].empty()) << list["refused"];
  std::map<std::string, nlohmann::json> atlases;
  for (const auto& atlas : list["atlases"]) atlases[atlas["name"]] = atlas;
  const auto folders = std::distance(std::filesystem::directory_iterator(models),
                                     std::filesystem::directory_iterator());
  EXPECT_EQ(static_cast<int64_t>(atlases.size()), folders);
  EXPECT_EQ(atlases["scvi_v080_legacy"]["scvi_version"], "0.0.0");
  EXPECT_EQ(atlases["heart_scvi_nocov"]["layer"], "counts");
  EXPECT_EQ(atlases["kang_scanvi"]["labels"].size(), 8u);
  const auto variant = [&](const char* name) { return atlases[name]["totalvi_variant"]; };
  EXPECT_EQ(variant("totalvi_v080_legacy"), "exp");
  EXPECT_EQ(variant("totalvi_v115"), "exp");
  EXPECT_EQ(variant("totalvi_v132"), "cell-mean");
  EXPECT_EQ(variant("cite_totalvi"), "cell-mean");
  EXPECT_EQ(variant("kang_scvi"), "");
  EXPECT_EQ(atlases["cite_totalvi"]["proteins"], 14);
  EXPECT_EQ(atlases["cite_totalvi"]["proteins_key"], "protein_expression");
  EXPECT_EQ(atlases["cite_totalvi"]["training_cells"], 6855);
  const Ended shown = server.Run({"atlas", "show", "cite_totalvi"});
  EXPECT_NE(shown.out.find("14 (obsm protein_expression), dispersion per protein"),
            std::string::npos)
      << shown.out;
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace portolan::end_to_end
