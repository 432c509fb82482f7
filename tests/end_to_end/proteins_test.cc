#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/result_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kCells = 900;

std::vector<std::string> MapWords(const std::string& output, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"map",         DemoQuery(), "--atlas", kProteinAtlas,
                                    "--batch-key", "batch",     "-o",      output};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Mean of a column over the cells of a type, and over all others.
std::pair<double, double> Means(const Embedding& values, int64_t column,
                                const std::vector<std::optional<std::string>>& types,
                                const std::string& type) {
  double in = 0;
  double out = 0;
  int64_t cells = 0;
  for (int64_t cell = 0; cell < values.cells; ++cell) {
    const bool is = types[cell] == type;
    (is ? in : out) += values.row(cell)[column];
    cells += is ? 1 : 0;
  }
  return {in / static_cast<double>(cells), out / static_cast<double>(values.cells - cells)};
}

TEST(ProteinsTest, MapsAQueryWithItsProteins) {
  const TemporaryDirectory directory;
  const RunningServer server;
  const std::string result = directory / "cite.h5ad";
  const Ended ended = server.Run(
      MapWords(result, {"--epochs", "20", "--proteins", "protein_expression", "--outputs",
                        "genes,proteins,foreground", "--output-genes", "CD3D,MS4A1",
                        "--output-proteins", "CD19,CD3", "--samples", "3"}));
  ASSERT_EQ(ended.status, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("20 of 20 in the query"));
  EXPECT_EQ(ReadObsm(result, "X_portolan").width, 10);
  EXPECT_EQ(ReadText(result, "extension_kind"), "adapter");
  EXPECT_EQ(ReadNumber(result, "max_abs_dz"), 0.0);
  EXPECT_EQ(ReadNumber(result, "proteins/matched"), 20);
  EXPECT_THAT(ReadTexts(result, "expression/portolan_genes"), ElementsAre("CD3D", "MS4A1"));
  EXPECT_THAT(ReadTexts(result, "expression/portolan_proteins"), ElementsAre("CD19", "CD3"));

  const Embedding genes = ReadObsm(result, "portolan_genes");
  const Embedding proteins = ReadObsm(result, "portolan_proteins");
  const Embedding foreground = ReadObsm(result, "portolan_foreground");
  ASSERT_EQ(genes.cells, kCells);
  ASSERT_EQ(proteins.width, 2);
  ASSERT_EQ(foreground.width, 2);
  for (const float p : foreground.values) ASSERT_TRUE(p >= 0 && p <= 1) << p;
  for (const float share : genes.values) ASSERT_TRUE(share >= 0 && share <= 1) << share;
  const auto types = ReadObs(result, "cell_type");
  const auto [b_cells, others] = Means(proteins, 0, types, "B cell");
  EXPECT_GT(b_cells, 3 * others) << "CD19 is a marker of B cells";
  const auto [b_foreground, other_foreground] = Means(foreground, 0, types, "B cell");
  EXPECT_GT(b_foreground, other_foreground);
}

TEST(ProteinsTest, ImputesWhatAQueryDidNotMeasure) {
  const TemporaryDirectory directory;
  const std::string one = directory / "one.h5ad";
  const std::string two = directory / "two.h5ad";
  const std::vector<std::string> more = {
      "--epochs",          "10",          "--outputs", "proteins", "--output-proteins", "CD19",
      "--transform-batch", "lab_a,lab_b", "--samples", "3"};
  {
    const RunningServer server({.workers = 1});
    const Ended ended = server.Run(MapWords(one, more));
    ASSERT_EQ(ended.status, 0) << ended.err;
  }
  {
    const RunningServer server({.workers = 2});
    const Ended ended = server.Run(MapWords(two, more));
    ASSERT_EQ(ended.status, 0) << ended.err;
  }
  const Embedding imputed = ReadObsm(one, "portolan_proteins");
  ASSERT_EQ(imputed.cells, kCells);
  const auto [b_cells, others] = Means(imputed, 0, ReadObs(one, "cell_type"), "B cell");
  EXPECT_GT(b_cells, 3 * others);
  // The same bits for any number of workers, of latents and of draws.
  EXPECT_EQ(LatentByCell(one), LatentByCell(two));
  EXPECT_EQ(imputed.values, ReadObsm(two, "portolan_proteins").values);
}

TEST(ProteinsTest, RefusesWhatCannotBe) {
  const TemporaryDirectory directory;
  const RunningServer server;
  const std::string result = directory / "x.h5ad";
  ExpectRefused(server.Run(MapWords(result, {"--proteins", "no_such_key"})), "proteins");
  ExpectRefused(server.Run(MapWords(result, {"--outputs", "genes", "--output-genes", "NOGENE"})),
                "output_genes");
  ExpectRefused(
      server.Run(MapWords(result, {"--outputs", "proteins", "--transform-batch", "mars"})),
      "transform_batch");
  ExpectRefused(server.Run(MapWords(result, {"--outputs", "genes", "--library-size", "-1"})),
                "library_size");
  const std::vector<std::string> scanvi = {"map",         DemoQuery(), "--atlas", kDemoAtlas,
                                           "--batch-key", "batch",     "-o",      result};
  std::vector<std::string> words = scanvi;
  words.insert(words.end(), {"--proteins", "protein_expression"});
  ExpectRefused(server.Run(words), "proteins");
  words = scanvi;
  words.insert(words.end(), {"--outputs", "proteins"});
  ExpectRefused(server.Run(words), "outputs");
  EXPECT_THAT(directory.Entries(), IsEmpty());
}

}  // namespace
}  // namespace portolan::end_to_end
