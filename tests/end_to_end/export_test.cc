#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
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

}  // namespace
}  // namespace portolan::end_to_end
