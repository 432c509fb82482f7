#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"
#include "tests/end_to_end/query_cells.h"

namespace portolan::end_to_end {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kRows = 60;

/// A file that must be refused, made at a path, and what the refusal says.
struct BadInput {
  std::string name;
  std::function<void(const std::string& path)> make;
  std::string field;
  std::vector<std::string> said;  ///< parts of the message
  std::vector<std::string> more = {};
};

void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

/// The first cells of the demo's query, changed.
std::function<void(const std::string&)> Changed(std::function<void(QueryCells&)> change) {
  return [change = std::move(change)](const std::string& path) {
    QueryCells query = QueryCells::Read(DemoQuery()).FirstRows(kRows);
    change(query);
    query.Write(path);
  };
}

void RenameGenes(QueryCells& query, size_t from) {
  for (size_t gene = from; gene < query.genes.size(); ++gene) {
    query.genes[gene] = "ENSG9900" + std::to_string(gene);
  }
}

void Transpose(QueryCells& query) {
  query = query.Transposed();
  std::set<std::string> names;  // the query has one gene twice; cells must not
  for (std::string& name : query.cells) {
    if (!names.insert(name).second) name += "-1";
  }
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void WriteTruncated(const std::string& path) {
  std::filesystem::copy_file(DemoQuery(), path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
}

std::vector<BadInput> BadCounts() {
  return {
      {"Fractional",
       Changed([](QueryCells& query) {
         for (float& value : query.values) value = std::log1p(value);
       }),
       "X",
       {"fractional", "raw counts"}},
      {"OneFraction", Changed([](QueryCells& query) { query.values.back() = 2.5f; }), "X", {"2.5"}},
      {"Negative",
       Changed([](QueryCells& query) { query.values[100] = -3; }),
       "X",
       {"-3", "negative"}},
      {"NotANumber",
       Changed(
           [](QueryCells& query) { query.values[100] = std::numeric_limits<float>::quiet_NaN(); }),
       "X",
       {"not a finite number"}},
      {"Infinite",
       Changed(
           [](QueryCells& query) { query.values[100] = std::numeric_limits<float>::infinity(); }),
       "X",
       {"not a finite number"}},
      {"NoCounts",
       [](const std::string& path) {
         QueryCells::Read(DemoQuery()).FirstRows(kRows).Write(path, /*with_counts=*/false);
       },
       "X",
       {"no such matrix"}},
      {"NoSuchLayer", Changed([](QueryCells&) {}), "layers/counts", {"X"}, {"--layer", "counts"}},
      {"Transposed", Changed(Transpose), "X", {"transposed", "adata.T"}},
  };
}

std::vector<BadInput> BadNames() {
  return {
      {"NoGeneInCommon",
       Changed([](QueryCells& query) { RenameGenes(query, 0); }),
       "var_names",
       {}},
      {"TooFewGenes", Changed([](QueryCells& query) { RenameGenes(query, 200); }), "var_names", {}},
      {"NoSuchBatchColumn",
       Changed([](QueryCells&) {}),
       "batch_key",
       {"'lab'", "batch, cell_type"},
       {"--batch-key", "lab"}},
      {"ACellWithoutABatch",
       Changed([](QueryCells& query) { query.batches[7] = std::nullopt; }),
       "batch_key",
       {"1 of 60 cells"}},
      {"ABatchOfOneCell",
       Changed([](QueryCells& query) { query.batches[7] = "lab_f"; }),
       "batch_key",
       {"'lab_f' has a single cell"}},
      {"ACellTwice",
       Changed([](QueryCells& query) { query.cells[7] = query.cells[3]; }),
       "obs_names",
       {"1 of 60", "obs_names_make_unique"}},
  };
}

std::vector<BadInput> BadFiles() {
  return {
      {"NoCells",
       Changed([](QueryCells& query) { query = query.FirstRows(0); }),
       "obs",
       {"0 cells"}},
      {"Truncated", WriteTruncated, "file", {"truncated"}},
      {"ADirectory",
       [](const std::string& path) { std::filesystem::create_directory(path); },
       "file",
       {"a folder without a matrix.mtx"}},
      {"AText", [](const std::string& path) { WriteText(path, "a letter\n"); }, "file", {"h5ad"}},
      {"ATable",
       [](const std::string& path) { WriteText(path, "cell,CD3D,CD19\nc1,3,0\n"); },
       "batch_key",
       {"no column 'batch'", "--batch"}},
      {"AnEmptyFile", [](const std::string& path) { WriteText(path, ""); }, "file", {"empty"}},
      {"NoFile", [](const std::string&) {}, "file", {}},
  };
}

std::vector<BadInput> AllBadInputs() {
  std::vector<BadInput> all = BadCounts();
  for (const auto& more : {BadNames(), BadFiles()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// One server meets all of it.
class RefusalTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<RunningServer>(); }
  static void TearDownTestSuite() {
    const TemporaryDirectory out;
    server_->Map(DemoQuery(), out / "good.h5ad", {"--epochs", "1"});
    EXPECT_EQ(server_->Stop(), 0);
    server_.reset();
  }

  static Ended Map(const std::string& query, const std::string& output,
                   const std::vector<std::string>& more) {
    std::vector<std::string> words = {"map", query,  "--atlas",  kDemoAtlas,
                                      "-o",  output, "--epochs", "1"};
    if (std::find(more.begin(), more.end(), "--batch-key") == more.end()) {
      words.insert(words.end(), {"--batch-key", "batch"});
    }
    words.insert(words.end(), more.begin(), more.end());
    return server_->Run(words);
  }

  static void ExpectServerUnmoved() {
    const nlohmann::json list = server_->RunJson({"atlas", "list"});
    ASSERT_EQ(list["atlases"].size(), 2u);
    for (const auto& atlas : list["atlases"]) EXPECT_EQ(atlas["version_count"], 1);
  }

  static inline std::unique_ptr<RunningServer> server_;
};

class BadInputTest : public RefusalTest, public testing::WithParamInterface<BadInput> {};

TEST_P(BadInputTest, IsRefusedWithItsFieldAndARemedy) {
  const BadInput& bad = GetParam();
  const TemporaryDirectory in;
  const TemporaryDirectory out;
  bad.make(in / "query.h5ad");
  const Ended ended = Map(in / "query.h5ad", out / "result.h5ad", bad.more);
  ExpectRefused(ended, bad.field);
  for (const std::string& part : bad.said) EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_THAT(out.Entries(), testing::IsEmpty());
  ExpectServerUnmoved();
}

INSTANTIATE_TEST_SUITE_P(All, BadInputTest, testing::ValuesIn(AllBadInputs()),
                         [](const auto& test) { return test.param.name; });

TEST_F(RefusalTest, RealLogNormalisedDataAreRefused) {
  const std::string file = TestData("formats/lognormalised_kang.h5ad");
  if (file.empty()) GTEST_SKIP() << "no formats/lognormalised_kang.h5ad in PORTOLAN_TEST_DATA";
  const TemporaryDirectory out;
  const Ended ended =
      Map(file, out / "result.h5ad", {"--batch-key", "condition", "--min-gene-share", "0"});
  ExpectRefused(ended, "X");
  EXPECT_THAT(ended.err, HasSubstr("fractional"));
  EXPECT_THAT(out.Entries(), testing::IsEmpty());
  ExpectServerUnmoved();
}

TEST_F(RefusalTest, AnEarlierResultSurvivesARefusal) {
  const TemporaryDirectory in;
  const TemporaryDirectory out;
  WriteText(out / "result.h5ad", "earlier");
  Changed([](QueryCells& query) { query.values.back() = -1; })(in / "query.h5ad");
  ExpectRefused(Map(in / "query.h5ad", out / "result.h5ad", {}), "X");
  EXPECT_THAT(out.Entries(), ElementsAre("result.h5ad"));
  EXPECT_EQ(std::filesystem::file_size(out / "result.h5ad"), 7u);
}

TEST_F(RefusalTest, OutputsThatCannotBeAreRefusedBeforeAnyWork) {
  const TemporaryDirectory out;
  std::filesystem::copy_file(DemoQuery(), out / "query.h5ad");
  ExpectRefused(Map(out / "query.h5ad", out / "query.h5ad", {}), "output");
  ExpectRefused(Map(out / "query.h5ad", out.path(), {}), "output");
  ExpectRefused(Map(out / "query.h5ad", out / "absent/result.h5ad", {}), "output");
  EXPECT_THAT(out.Entries(), ElementsAre("query.h5ad"));
  ExpectServerUnmoved();
}

}  // namespace
}  // namespace portolan::end_to_end
