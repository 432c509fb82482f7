#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/core/archive/model_builder.h"
#include "tests/core/archive/pickle_builder.h"
#include "tests/end_to_end/programs.h"

namespace portolan::end_to_end {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

std::string PeakModel() {
  ModelBuilder model;
  model.registry["model_name"] = pickle::Str("PEAKVI");
  return model.File();
}

/// A directory with the demo's atlas and others that cannot be served.
class BrokenAtlasesTest : public testing::Test {
 protected:
  BrokenAtlasesTest() {
    namespace fs = std::filesystem;
    const std::string model = DemoAtlases() + "/" + kDemoAtlas + "/model.pt";
    for (const char* name : {kDemoAtlas, "truncated", "text", "empty", "peaks"}) {
      fs::create_directory(directory_ / name);
    }
    fs::copy_file(model, directory_ / kDemoAtlas + "/model.pt");
    fs::copy_file(model, directory_ / "truncated/model.pt");
    fs::resize_file(directory_ / "truncated/model.pt", fs::file_size(model) * 2 / 3);
    std::ofstream(directory_ / "text/model.pt") << "this is no model\n";
    std::ofstream(directory_ / "peaks/model.pt", std::ios::binary) << PeakModel();
  }

  TemporaryDirectory directory_;
};

TEST_F(BrokenAtlasesTest, TheServerServesTheGoodOneAndSaysWhyNotTheOthers) {
  RunningServer server({.atlases = directory_.path()});
  const nlohmann::json list = server.RunJson({"atlas", "list"});
  ASSERT_EQ(list["atlases"].size(), 1u);
  EXPECT_EQ(list["atlases"][0]["name"], kDemoAtlas);
  std::map<std::string, std::string> reasons;
  for (const auto& refused : list["refused"]) reasons[refused["name"]] = refused["reason"];
  ASSERT_EQ(reasons.size(), 4u) << list["refused"];
  EXPECT_THAT(reasons["truncated"], HasSubstr("model.pt"));
  EXPECT_THAT(reasons["text"], HasSubstr("model.pt"));
  EXPECT_THAT(reasons["empty"], HasSubstr("model.pt"));
  EXPECT_THAT(reasons["peaks"], HasSubstr("PEAKVI"));

  const Ended text = server.Run({"atlas", "list"});
  EXPECT_EQ(text.status, 0);
  for (const char* name : {"truncated", "text", "empty", "peaks"}) {
    EXPECT_THAT(text.out, ContainsRegex("not served: " + std::string(name) + ": .+\n"));
  }
  EXPECT_EQ(server.Stop(), 0);
}

TEST_F(BrokenAtlasesTest, AskingForARefusedOneSaysWhy) {
  RunningServer server({.atlases = directory_.path()});
  const Ended ended = server.Run({"atlas", "show", "peaks"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("could not be opened"), HasSubstr("PEAKVI"),
                               HasSubstr("\n  remedy: ")));
  const TemporaryDirectory out;
  server.Map(DemoQuery(), out / "x.h5ad", {"--epochs", "1"});
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace portolan::end_to_end
