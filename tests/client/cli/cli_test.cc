// The whole program against a server in the same process, over a socket.

#include "client/cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/io/query_reader.h"
#include "tests/client/fake_server.h"
#include "tests/client/h5ad_fixture.h"

namespace portolan::client {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int exit_status = 0;
  std::string out;
  std::string err;
};

Outcome Portolan(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int exit_status = RunCli(arguments, {out, err, false});
  return {exit_status, out.str(), err.str()};
}

class CliTest : public testing::Test {
 protected:
  std::vector<std::string> MapWords(const FakeServer& server, const std::string& query) {
    return {"map",   query, "--atlas", "toy",      "--batch-key",
            "donor", "-o",  output_,   "--server", server.address()};
  }

  Outcome Map(const FakeServer& server, const Fixture& fixture,
              const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = MapWords(server, WriteH5ad(fixture));
    words.insert(words.end(), more.begin(), more.end());
    return Portolan(words);
  }

  // Also no temporary file beside it.
  bool OutputExists() const {
    for (const auto& entry : std::filesystem::directory_iterator(testing::TempDir())) {
      if (entry.path().string().find(std::filesystem::path(output_).stem().string()) !=
          std::string::npos) {
        return true;
      }
    }
    return false;
  }

  const std::string output_ = UniquePath("_result.h5ad");
};

TEST_F(CliTest, MapWritesAWholeResult) {
  const FakeServer server;
  const Outcome outcome = Map(server, SmallQuery(), {"--seed", "7", "--epochs", "2"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;

  const FakeRecord record = server.record();
  EXPECT_EQ(record.cells.names, SmallQuery().cells);
  EXPECT_THAT(record.cells.batch_codes, ElementsAre(0, 1, 0, 0, 1));
  EXPECT_EQ(record.cells.counts.cols, 4);
  EXPECT_THAT(record.upload.batches(), ElementsAre("a/b", "c"));
  EXPECT_EQ(record.upload.genes().matched(), 3);
  EXPECT_EQ(record.mapping.options().epochs(), 2);
  EXPECT_EQ(record.mapping.options().seed(), 7u);
  EXPECT_TRUE(record.deleted);  // the upload has served its purpose

  // Sums over the reference's genes: 3, 5, 300, 4, 6.
  EXPECT_THAT(ReadNumbers(output_, "obsm/X_portolan"), ElementsAre(3, 0, 5, 1, 300, 3, 4, 0, 6, 0));
  EXPECT_THAT(ReadNumbers(output_, "obsm/portolan_probs"),
              ElementsAre(0, 1, 0, 1, 1, 0, 1, 0, 1, 0));
  EXPECT_THAT(ReadStrings(output_, "obs/portolan_label/categories"), ElementsAre("B", "T"));
  EXPECT_THAT(ReadNumbers(output_, "obs/portolan_label/codes"), ElementsAre(1, 1, 0, 0, 0));
  EXPECT_THAT(ReadStrings(output_, "uns/portolan/version"), ElementsAre("bbbb2222"));
  EXPECT_THAT(ReadNumbers(output_, "uns/portolan/epochs/a_b"), ElementsAre(2));
  EXPECT_THAT(ReadNumbers(output_, "uns/portolan/losses/c"), ElementsAre(20, 12.5));
  EXPECT_THAT(ReadStrings(output_, "uns/portolan/batch_names"), ElementsAre("a/b", "c"));
  EXPECT_THAT(ReadStrings(output_, "uns/portolan/genes/missing"), ElementsAre("g2"));
  EXPECT_THAT(ReadNumbers(output_, "uns/portolan/timings/train"), ElementsAre(1.5));

  // The query's own content is still there.
  const auto reader = OpenQuery(output_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->cell_names(), SmallQuery().cells);
  EXPECT_THAT((*reader)->ObsColumnNames(), ElementsAre("donor", "portolan_label"));

  EXPECT_THAT(outcome.out, HasSubstr("3 of 4 matched"));
  EXPECT_THAT(outcome.out, HasSubstr("2 trained, 0 known"));
  EXPECT_THAT(outcome.out, HasSubstr("B 3, T 2"));
  EXPECT_THAT(outcome.out, HasSubstr("bbbb2222"));
  EXPECT_THAT(outcome.err, HasSubstr("uploaded 5 of 5 cells"));
  EXPECT_THAT(outcome.err, HasSubstr("epoch 2/2"));
}

TEST_F(CliTest, MapWithoutLabels) {
  const FakeServer server({.labels = {}});
  ASSERT_EQ(Map(server, SmallQuery()).exit_status, 0);
  EXPECT_EQ(ReadNumbers(output_, "obsm/X_portolan").size(), 10u);
  const auto reader = OpenQuery(output_);
  ASSERT_TRUE(reader.ok());
  EXPECT_THAT((*reader)->ObsColumnNames(), ElementsAre("donor"));
}

TEST_F(CliTest, MapSurvivesBrokenStreams) {
  const FakeServer server({.break_upload_before_part = 2, .break_watch = true, .break_read = true});
  const Outcome outcome = Map(server, SmallQuery(), {"--chunk-cells", "1"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_EQ(server.record().cells.names, SmallQuery().cells);
  EXPECT_EQ(server.record().upload_streams, 2);
  EXPECT_EQ(server.record().watches, 2);
  EXPECT_EQ(server.record().reads, 2);
}

TEST_F(CliTest, JsonOnStdout) {
  const FakeServer server;
  const Outcome outcome = Map(server, SmallQuery(), {"--json", "--slim"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["version"], "bbbb2222");
  EXPECT_EQ(result["epochs"]["a/b"], 2);
  EXPECT_EQ(result["label_counts"]["B"], 3);
  EXPECT_EQ(result["output"], output_);
}

TEST_F(CliTest, TheResultOfATableIsAFileOfItsOwn) {
  const FakeServer server;
  const std::string table = UniquePath("_query.csv");
  std::ofstream(table) << ",g3,g1,other,g0\nc1,1,2,3,4\nc2,0,0,5,6\nc3,7,0,0,8\n";
  const Outcome outcome = Portolan({"map", table, "--atlas", "toy", "--batch", "new", "-o", output_,
                                    "--server", server.address()});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(server.record().cells.names, ElementsAre("c1", "c2", "c3"));

  {
    const auto reader = OpenQuery(output_);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_THAT((*reader)->cell_names(), ElementsAre("c1", "c2", "c3"));
    const auto batches = (*reader)->ReadObs("batch");
    ASSERT_TRUE(batches.ok()) << batches.status();
    EXPECT_THAT(batches->values, testing::Each(std::optional<std::string>("new")));
  }
  EXPECT_FALSE(ReadNumbers(output_, "obsm/X_portolan").empty());
}

TEST_F(CliTest, BadInputIsRefusedBeforeAnyUpload) {
  const FakeServer server;
  Fixture fixture = SmallQuery();
  fixture.batches[1] = "lonely";
  fixture.batches[4] = "a/b";
  Outcome outcome = Map(server, fixture);
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("error: batch_key: "));
  EXPECT_THAT(outcome.err, HasSubstr("  found: batch 'lonely' has a single cell, 'cell1'"));
  EXPECT_THAT(outcome.err, HasSubstr("  remedy: "));

  fixture = SmallQuery();
  fixture.x[0][0] = 0.25;
  outcome = Map(server, fixture, {"--json"});
  EXPECT_EQ(outcome.exit_status, 1);
  const json error = json::parse(outcome.err)["error"];
  EXPECT_EQ(error["field"], "X");
  EXPECT_EQ(server.record().upload.cells(), 0);
  EXPECT_FALSE(OutputExists());
}

TEST_F(CliTest, CountsThatTurnBadLateLeaveNothingBehind) {
  const FakeServer server;
  Fixture fixture = SmallQuery();
  fixture.x[4][0] = 0.25;
  const Outcome outcome = Map(server, fixture, {"--chunk-cells", "2"});
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_TRUE(server.record().deleted);
  EXPECT_FALSE(OutputExists());
}

TEST_F(CliTest, AFailedMappingLeavesNoFile) {
  const FakeServer server({.outcome = v1::Mapping::FAILED});
  const Outcome outcome = Map(server, SmallQuery());
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("error: learning_rate: "));
  EXPECT_THAT(outcome.err, HasSubstr("remedy: Choose less"));
  EXPECT_FALSE(OutputExists());
}

TEST_F(CliTest, InterruptCancelsTheMapping) {
  const FakeServer server({.on_watch = [] { kill(getpid(), SIGINT); }});
  const Outcome outcome = Map(server, SmallQuery(), {"--json"});
  EXPECT_EQ(outcome.exit_status, 130);
  EXPECT_EQ(json::parse(outcome.err)["error"]["code"], "CANCELLED");
  EXPECT_TRUE(server.record().cancelled);
  EXPECT_FALSE(OutputExists());
}

TEST_F(CliTest, OutputsThatCannotBeAreRefusedFirst) {
  const FakeServer server;
  const std::string query = WriteH5ad(SmallQuery());
  for (const std::string& output :
       {query, testing::TempDir(), testing::TempDir() + "no_such_folder/out.h5ad"}) {
    const Outcome outcome = Portolan({"map", query, "--atlas", "toy", "--batch-key", "donor", "-o",
                                      output, "--server", server.address()});
    EXPECT_EQ(outcome.exit_status, 1);
    EXPECT_THAT(outcome.err, HasSubstr("error: output: "));
  }
  EXPECT_EQ(server.record().upload.cells(), 0);
}

TEST_F(CliTest, EmbedKnownBatches) {
  const FakeServer server;
  const std::string query = WriteH5ad(SmallQuery());
  Outcome outcome = Portolan({"embed", query, "--atlas", "toy", "--batch", "ref2", "-o", output_,
                              "--server", server.address(), "--chunk-cells", "2"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(ReadNumbers(output_, "obsm/X_portolan"), ElementsAre(3, 0, 5, 1, 300, 3, 4, 0, 6, 0));
  EXPECT_THAT(ReadNumbers(output_, "uns/portolan/batches/ref2/cells"), ElementsAre(5));
  EXPECT_THAT(server.record().upload.batches(), ElementsAre("ref2"));

  outcome = Portolan({"embed", query, "--atlas", "toy", "--batch-key", "donor", "-o", output_,
                      "--server", server.address()});
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("error: batch: "));
}

TEST_F(CliTest, ListsAndShows) {
  const FakeServer server;
  const std::vector<std::string> at = {"--server", server.address(), "--json"};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.end(), at.begin(), at.end());
    const Outcome outcome = Portolan(words);
    EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
    return json::parse(outcome.out);
  };
  EXPECT_EQ(with({"atlas", "list"})["atlases"][0]["name"], "toy");
  EXPECT_EQ(with({"atlas", "list"})["refused"][0]["reason"], "model.pt is truncated");
  const json atlas = with({"atlas", "show", "toy"});
  EXPECT_EQ(atlas["genes"], 4);
  EXPECT_EQ(atlas["latent"], 2);
  EXPECT_EQ(atlas["model"], "SCANVI");
  EXPECT_EQ(atlas["batches"], json({"ref1", "ref2"}));
  EXPECT_EQ(atlas["labels"], json({"B", "T"}));
  EXPECT_EQ(with({"versions", "toy"})["versions"][0]["id"], "aaaa1111");

  const Outcome text = Portolan({"--server", server.address(), "atlas", "show", "toy"});
  EXPECT_THAT(text.out, HasSubstr("ref1, ref2"));
  EXPECT_THAT(text.out, Not(HasSubstr("g0")));
  EXPECT_EQ(Portolan({"atlas", "show", "nope", "--server", server.address()}).exit_status, 1);
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_F(CliTest, ExportMakesAWholeDirectory) {
  FakeBehaviour behaviour;
  behaviour.break_export = true;
  const FakeServer server(behaviour);
  const std::vector<std::string> words = {"atlas",     "export",   "toy",
                                          "--version", "aaaa1111", "-o",
                                          output_,     "--server", server.address()};
  const Outcome outcome = Portolan(words);
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_EQ(Content(output_ + "/model.pt"), "the bytes of a model");
  EXPECT_THAT(outcome.out, HasSubstr("for scvi-tools 1.4.2"));
  EXPECT_THAT(outcome.out, HasSubstr("note: Open it with care."));
  // Nothing is overwritten.
  const Outcome again = Portolan(words);
  EXPECT_EQ(again.exit_status, 1);
  EXPECT_THAT(again.err, HasSubstr("exists and is not empty"));
  std::filesystem::remove(output_ + "/model.pt");
  EXPECT_EQ(Portolan(words).exit_status, 0);  // an empty one may be there
  std::filesystem::remove_all(output_);
}

TEST_F(CliTest, ABrokenExportLeavesNothing) {
  FakeBehaviour behaviour;
  behaviour.damage_export = true;
  const FakeServer server(behaviour);
  const Outcome damaged = Portolan({"atlas", "export", "toy", "--version", "aaaa1111", "-o",
                                    output_, "--server", server.address()});
  EXPECT_EQ(damaged.exit_status, 1);
  EXPECT_THAT(damaged.err, HasSubstr("did not arrive as it was sent"));
  const Outcome unknown = Portolan(
      {"atlas", "export", "toy", "--version", "ffff", "-o", output_, "--server", server.address()});
  EXPECT_EQ(unknown.exit_status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("no version"));
  EXPECT_FALSE(OutputExists());
  const Outcome nowhere = Portolan({"atlas", "export", "toy", "-o", output_ + "/a/b"});
  EXPECT_THAT(nowhere.err, HasSubstr("does not exist or cannot be written to"));
}

TEST_F(CliTest, UsageErrorsAndHelp) {
  EXPECT_EQ(Portolan({}).exit_status, 2);
  EXPECT_EQ(Portolan({"atlas"}).exit_status, 2);
  EXPECT_EQ(Portolan({"map"}).exit_status, 2);
  EXPECT_EQ(Portolan({"map", "q", "--atlas", "a", "--batch-key", "b", "-o", "o", "--epochs", "x"})
                .exit_status,
            2);
  EXPECT_EQ(Portolan({"embed", "q", "--atlas", "a", "-o", "o"}).exit_status, 2);
  EXPECT_EQ(Portolan({"embed", "q", "--atlas", "a", "-o", "o", "--batch", "b", "--batch-key", "k"})
                .exit_status,
            2);
  EXPECT_EQ(Portolan({"--help"}).exit_status, 0);
  EXPECT_THAT(Portolan({"map", "--help"}).out, HasSubstr("--freeze-dropout"));
  EXPECT_THAT(Portolan({"--version"}).out, HasSubstr("portolan "));
}

}  // namespace
}  // namespace portolan::client
