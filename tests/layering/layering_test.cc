#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/layering/layering_rules.h"
#include "tests/paths.h"

namespace portolan::layering {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

std::vector<std::string> Messages(const std::vector<Violation>& violations) {
  std::vector<std::string> messages;
  for (const Violation& violation : violations) messages.push_back(ToString(violation));
  return messages;
}

std::vector<std::string> Check(std::string_view path, std::string_view text) {
  return Messages(CheckSource(path, text));
}

/// What a .cc file at `path` with this one include breaks.
std::vector<std::string> CheckInclude(const std::string& path, const std::string& included) {
  return Check(path, "#include " + included + "\n");
}

std::string Lines(int count) { return std::string(static_cast<size_t>(count), '\n'); }

std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(LayeringTest, TreeKeepsTheRules) {
  const fs::path root = SourceDir();
  std::map<std::string, std::string> sources;
  for (const char* folder : {"core", "server", "client", "tools", "tests", "bench"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const fs::path extension = entry.path().extension();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
      sources[entry.path().lexically_relative(root).generic_string()] = ReadText(entry.path());
    }
  }
  EXPECT_THAT(sources, Contains(Key("core/base/philox.h")));
  EXPECT_THAT(sources, Contains(Key("tests/layering/layering_test.cc")));
  EXPECT_THAT(Messages(CheckTree(sources)), IsEmpty());
}

TEST(LayeringTest, NamesFileLineIncludeAndRule) {
  EXPECT_THAT(Check("core/base/a.cc", "#include \"core/base/a.h\"\n\n#include \"core/io/b.h\"\n"),
              ElementsAre("core/base/a.cc:3: includes core/io/b.h: core/base may not use core/io"));
}

TEST(LayeringTest, CoreKnowsNoRpc) {
  for (const char* included :
       {"<grpcpp/grpcpp.h>", "<grpc/grpc.h>", "<grpc++/server.h>", "<google/protobuf/message.h>",
        "\"portolan/v1/atlas.pb.h\"", "\"portolan/v1/atlas.grpc.pb.h\""}) {
    EXPECT_THAT(CheckInclude("core/jobs/a.cc", included), ElementsAre(HasSubstr("no gRPC")))
        << included;
    EXPECT_THAT(CheckInclude("server/a.cc", included), IsEmpty()) << included;
    EXPECT_THAT(CheckInclude("client/cpp/a.cc", included), IsEmpty()) << included;
  }
}

TEST(LayeringTest, CoreKnowsNoHttp) {
  for (const char* included :
       {"<httplib.h>", "<boost/beast/core.hpp>", "<boost/asio.hpp>", "<curl/curl.h>"}) {
    EXPECT_THAT(CheckInclude("core/io/a.cc", included), ElementsAre(HasSubstr("no HTTP")))
        << included;
    EXPECT_THAT(CheckInclude("server/rest/a.cc", included), IsEmpty()) << included;
  }
}

TEST(LayeringTest, CoreIsBelowServerAndClient) {
  EXPECT_THAT(CheckInclude("core/mapping/a.cc", "\"server/drain.h\""),
              ElementsAre(HasSubstr("core is below")));
  EXPECT_THAT(CheckInclude("core/mapping/a.cc", "\"client/cpp/client.h\""),
              ElementsAre(HasSubstr("core is below")));
}

TEST(LayeringTest, ClientUsesThreeFoldersOfCore) {
  for (const char* folder : {"base", "matrix", "io"}) {
    EXPECT_THAT(CheckInclude("client/cli/a.cc", "\"core/" + std::string(folder) + "/a.h\""),
                IsEmpty());
  }
  for (const char* folder : {"archive", "model", "surgery", "atlas", "jobs", "mapping"}) {
    EXPECT_THAT(CheckInclude("client/cli/a.cc", "\"core/" + std::string(folder) + "/a.h\""),
                ElementsAre(HasSubstr("not core/" + std::string(folder))));
  }
}

TEST(LayeringTest, ClientAndServerShareTheContractOnly) {
  EXPECT_THAT(CheckInclude("server/a.cc", "\"client/cpp/client.h\""),
              ElementsAre(HasSubstr("wire contract only")));
  EXPECT_THAT(CheckInclude("client/cpp/a.cc", "\"server/drain.h\""),
              ElementsAre(HasSubstr("wire contract only")));
}

TEST(LayeringTest, TorchStaysInModelAndSurgery) {
  for (const char* included : {"<torch/torch.h>", "<ATen/ATen.h>", "<c10/util/Exception.h>"}) {
    for (const char* path : {"core/model/a.cc", "core/surgery/a.cc", "tests/core/model/a_test.cc",
                             "tests/core/surgery/a_test.cc", "bench/a.cc"}) {
      EXPECT_THAT(CheckInclude(path, included), IsEmpty()) << path;
    }
    for (const char* path : {"core/base/a.cc", "core/atlas/a.cc", "core/mapping/a.cc",
                             "core/archive/a.cc", "server/a.cc", "client/cpp/a.cc",
                             "tests/core/archive/a_test.cc", "tests/server/a_test.cc"}) {
      EXPECT_THAT(CheckInclude(path, included), ElementsAre(HasSubstr("LibTorch"))) << path;
    }
  }
}

TEST(LayeringTest, TorchDoesNotTravelThroughHeaders) {
  const std::map<std::string, std::string> sources = {
      {"core/model/networks.h", "#pragma once\n#include <torch/torch.h>\n"},
      {"core/model/inner.h", "#pragma once\n#include \"core/model/networks.h\"\n"},
      {"core/model/model.h", "#pragma once\n"},
      {"core/surgery/trainer.cc", "#include \"core/model/inner.h\"\n"},
      {"core/atlas/good.cc", "#include \"core/model/model.h\"\n"},
      {"core/atlas/bad.cc", "\n#include \"core/model/inner.h\"\n"},
  };
  EXPECT_THAT(Messages(CheckTree(sources)),
              ElementsAre("core/atlas/bad.cc:2: includes core/model/inner.h, which brings "
                          "LibTorch's headers out of core/model"));
}

struct Arrow {
  std::string from;
  std::string to;
  bool allowed;
};

class CoreArrowTest : public ::testing::TestWithParam<Arrow> {};

TEST_P(CoreArrowTest, IsKept) {
  const auto& [from, to, allowed] = GetParam();
  const auto messages = CheckInclude("core/" + from + "/a.cc", "\"core/" + to + "/b.h\"");
  if (allowed) {
    EXPECT_THAT(messages, IsEmpty());
  } else {
    EXPECT_THAT(messages, ElementsAre(HasSubstr("core/" + from + " may not use core/" + to)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arrows, CoreArrowTest,
    ::testing::Values(Arrow{"matrix", "base", true}, Arrow{"io", "matrix", true},
                      Arrow{"model", "archive", true}, Arrow{"surgery", "model", true},
                      Arrow{"atlas", "model", true}, Arrow{"mapping", "jobs", true},
                      Arrow{"base", "matrix", false}, Arrow{"matrix", "io", false},
                      Arrow{"archive", "matrix", false}, Arrow{"jobs", "atlas", false},
                      Arrow{"io", "archive", false}, Arrow{"model", "surgery", false},
                      Arrow{"model", "io", false}, Arrow{"surgery", "atlas", false},
                      Arrow{"atlas", "surgery", false}, Arrow{"atlas", "mapping", false}),
    [](const auto& arrow) { return arrow.param.from + "_" + arrow.param.to; });

TEST(LayeringTest, NewFolderOfCoreStatesItsArrows) {
  EXPECT_THAT(Check("core/cartography/a.cc", ""), ElementsAre(HasSubstr("no entry")));
}

TEST(LayeringTest, HeadersAreGuarded) {
  EXPECT_THAT(Check("core/base/a.h", "int F();\n"), ElementsAre(HasSubstr("#pragma once")));
  EXPECT_THAT(Check("core/base/a.h", "// #pragma once\n"), ElementsAre(HasSubstr("#pragma once")));
  EXPECT_THAT(Check("core/base/a.h", "#pragma once\nint F();\n"), IsEmpty());
  EXPECT_THAT(Check("core/base/a.cc", "int F();\n"), IsEmpty());
  EXPECT_THAT(Check("core/base/a-inl.h", "int F();\n"), IsEmpty());
}

TEST(LayeringTest, FilesStayShort) {
  const std::string guard = "#pragma once\n";
  EXPECT_THAT(Check("server/a.h", guard + Lines(kMaxHeaderLines - 1)), IsEmpty());
  EXPECT_THAT(Check("server/a.h", guard + Lines(kMaxHeaderLines)), ElementsAre(HasSubstr("251")));
  EXPECT_THAT(Check("tests/a.h", guard + Lines(kMaxHeaderLines)), IsEmpty());
  EXPECT_THAT(Check("tests/a.h", guard + Lines(kMaxSourceLines)), ElementsAre(HasSubstr("601")));
  EXPECT_THAT(Check("server/a.cc", Lines(kMaxSourceLines)), IsEmpty());
  EXPECT_THAT(Check("server/a.cc", Lines(kMaxSourceLines + 1)), ElementsAre(HasSubstr("601")));
}

TEST(LayeringTest, ReadsIncludesAsThePreprocessorDoes) {
  EXPECT_THAT(CheckInclude("core/io/a.cc", "\t <grpcpp/grpcpp.h>  // why"),
              ElementsAre(HasSubstr("grpcpp")));
  EXPECT_THAT(Check("core/io/a.cc", "  #  include<grpcpp/grpcpp.h>"),
              ElementsAre(HasSubstr("grpcpp")));
  EXPECT_THAT(Check("core/io/a.cc", "// #include <grpcpp/grpcpp.h>\n"), IsEmpty());
  EXPECT_THAT(Check("core/io/a.cc", "#include <grpcpp\n#include\n#\n"), IsEmpty());
}

}  // namespace
}  // namespace portolan::layering
