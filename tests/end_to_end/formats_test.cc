// The same cells in every format that the command line reads give the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"
#include "tests/end_to_end/query_formats.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using testing::Each;
using testing::Optional;

constexpr char kBatch[] = "lab_d";
constexpr int64_t kCells = 150;

struct Format {
  const char* name;
  void (*write)(const QueryCells& query, const std::string& path);
};

const std::vector<Format>& Formats() {
  static const std::vector<Format> formats = {
      {"cells.csv", [](const auto& q, const auto& path) { WriteCellsByGenes(q, path, ','); }},
      {"genes.tsv", [](const auto& q, const auto& path) { WriteGenesByCells(q, path, '\t'); }},
      {"mex3", WriteMex3},
      {"mex2", WriteMex2},
      {"tenx3.h5", WriteTenx3},
      {"tenx2.h5", WriteTenx2},
  };
  return formats;
}

TEST(FormatsTest, MapToTheSameBitsAsH5ad) {
  const TemporaryDirectory directory;
  const RunningServer server;
  const QueryCells query = QueryCells::Read(DemoQuery()).SelectBatch(kBatch).FirstRows(kCells);
  const auto map = [&](const std::string& path) {
    const std::string output = path + ".result.h5ad";
    const nlohmann::json report =
        server.RunJson({"map", path, "--atlas", kDemoAtlas, "--batch", kBatch, "--epochs", "3",
                        "--seed", "5", "-o", output});
    EXPECT_EQ(report["genes"]["matched"], 970) << path;
    return output;
  };
  query.Write(directory / "query.h5ad");
  const std::string expected = map(directory / "query.h5ad");
  for (const Format& format : Formats()) {
    const std::string path = directory / format.name;
    format.write(query, path);
    const std::string result = map(path);
    EXPECT_EQ(LatentByCell(result), LatentByCell(expected)) << format.name;
    EXPECT_EQ(ReadCellNames(result), query.cells) << format.name;
    EXPECT_THAT(ReadObs(result, "batch"), Each(Optional(std::string(kBatch)))) << format.name;
    EXPECT_EQ(ReadObs(result, "portolan_label"), ReadObs(expected, "portolan_label"));
  }
  // Batches of known names need no training, in whatever format.
  const std::string embedded = directory / "embedded.h5ad";
  server.Embed(directory / "mex3", embedded, {"--batch", "lab_a"});
  EXPECT_EQ(ReadCellNames(embedded), query.cells);
}

TEST(FormatsTest, AColumnOfATableTellsTheBatches) {
  const TemporaryDirectory directory;
  const RunningServer server;
  const QueryCells all = QueryCells::Read(DemoQuery());
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < static_cast<int64_t>(all.cells.size()); row += 6) rows.push_back(row);
  QueryCells query = all.SelectRows(rows);
  query.Write(directory / "query.h5ad");
  WriteCellsByGenes(query, directory / "query.csv", ',', /*with_batches=*/true);
  const std::vector<std::string> more = {"--epochs", "2"};
  server.Map(directory / "query.h5ad", directory / "a.h5ad", more);
  server.Map(directory / "query.csv", directory / "b.h5ad", more);
  EXPECT_EQ(LatentByCell(directory / "a.h5ad"), LatentByCell(directory / "b.h5ad"));
  EXPECT_EQ(ReadObs(directory / "b.h5ad", "batch"), query.batches);
}

}  // namespace
}  // namespace portolan::end_to_end
