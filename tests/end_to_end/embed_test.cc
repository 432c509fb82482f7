#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/io/hdf5.h"
#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(EmbedTest, EmbedsCellsOfAKnownBatchWithoutTraining) {
  RunningServer server;
  const TemporaryDirectory out;
  const nlohmann::json report = server.Embed(DemoQuery(), out / "a.h5ad", {"--batch", "lab_a"});
  EXPECT_EQ(report["batches"]["lab_a"]["cells"], 900);
  EXPECT_EQ(report["batches"]["lab_a"]["trained"], false);
  const Embedding latent = ReadObsm(out / "a.h5ad", "X_portolan");
  EXPECT_EQ(latent.cells, 900);
  EXPECT_EQ(latent.width, 15);
  EXPECT_EQ(ReadObsm(out / "a.h5ad", "portolan_probs").width, 8);
  EXPECT_GT(LabelAccuracy(out / "a.h5ad"), 0.7);

  // The batch matters, the chunks do not, and no version is made.
  server.Embed(DemoQuery(), out / "b.h5ad", {"--batch", "lab_b"});
  EXPECT_NE(ReadObsm(out / "b.h5ad", "X_portolan").values, latent.values);
  server.Embed(DemoQuery(), out / "c.h5ad", {"--batch", "lab_a", "--chunk-cells", "64"});
  EXPECT_EQ(LatentByCell(out / "c.h5ad"), LatentByCell(out / "a.h5ad"));
  EXPECT_EQ(server.RunJson({"versions", kDemoAtlas})["versions"].size(), 1u);
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EmbedTest, SlimResultsHaveNoCounts) {
  RunningServer server;
  const TemporaryDirectory out;
  server.Embed(DemoQuery(), out / "slim.h5ad", {"--batch", "lab_a", "--slim"});
  const auto file = hdf5::OpenFile(out / "slim.h5ad");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(hdf5::KindOf(*file, "X"), hdf5::ObjectKind::kAbsent);
  EXPECT_EQ(ReadObsm(out / "slim.h5ad", "X_portolan").cells, 900);
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EmbedTest, RefusesAnUnknownBatchNamingTheKnownOnes) {
  RunningServer server;
  const TemporaryDirectory out;
  const Ended named = server.Run(
      {"embed", DemoQuery(), "--atlas", kDemoAtlas, "--batch", "lab_z", "-o", out / "x.h5ad"});
  ExpectRefused(named, "batch");
  EXPECT_THAT(named.err, HasSubstr("'lab_z'; it knows: lab_a, lab_b, lab_c"));

  const Ended column = server.Run(
      {"embed", DemoQuery(), "--atlas", kDemoAtlas, "--batch-key", "batch", "-o", out / "x.h5ad"});
  ExpectRefused(column, "batch");
  EXPECT_THAT(column.err, HasSubstr("'lab_d'; it knows: lab_a, lab_b, lab_c"));
  EXPECT_THAT(out.Entries(), IsEmpty());
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace portolan::end_to_end
