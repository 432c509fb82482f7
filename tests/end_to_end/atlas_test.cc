#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/end_to_end/programs.h"

namespace portolan::end_to_end {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AtlasTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<RunningServer>(); }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    server_.reset();
  }

  static inline std::unique_ptr<RunningServer> server_;
};

void ExpectDemoModel(const nlohmann::json& atlas) {
  EXPECT_EQ(atlas["name"], "pbmc_demo");
  EXPECT_EQ(atlas["model"], "SCANVI");
  EXPECT_EQ(atlas["scvi_version"], "1.4.2");
  EXPECT_EQ(atlas["genes"], 1000);
  EXPECT_EQ(atlas["latent"], 15);
  EXPECT_EQ(atlas["hidden"], 64);
  EXPECT_EQ(atlas["layers"], 2);
  EXPECT_EQ(atlas["likelihood"], "zinb");
  EXPECT_EQ(atlas["batch_key"], "batch");
  EXPECT_EQ(atlas["labels_key"], "cell_type");
  EXPECT_EQ(atlas["unlabeled_category"], "Unknown");
  EXPECT_THAT(atlas["labels"].get<std::vector<std::string>>(),
              ElementsAre("B cell", "CD14+ monocyte", "CD16+ monocyte", "CD4 T cell", "CD8 T cell",
                          "Dendritic cell", "Megakaryocyte", "NK cell"));
}

TEST_F(AtlasTest, ListsWhatTheServerHolds) {
  const nlohmann::json list = server_->RunJson({"atlas", "list"});
  ASSERT_EQ(list["atlases"].size(), 2u);
  EXPECT_EQ(list["atlases"][0]["name"], kProteinAtlas);
  EXPECT_EQ(list["atlases"][0]["model"], "TOTALVI");
  ExpectDemoModel(list["atlases"][1]);
  EXPECT_THAT(list["refused"], IsEmpty());

  const Ended text = server_->Run({"atlas", "list"});
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, testing::ContainsRegex("pbmc_demo +SCANVI +1000 +15 +8 +1\n"));
}

TEST_F(AtlasTest, ShowsOneAtlas) {
  const nlohmann::json atlas = server_->RunJson({"atlas", "show", kDemoAtlas});
  ExpectDemoModel(atlas);
  EXPECT_THAT(atlas["batches"].get<std::vector<std::string>>(),
              ElementsAre("lab_a", "lab_b", "lab_c"));
  EXPECT_FALSE(atlas.contains("gene_names"));
  EXPECT_EQ(server_->RunJson({"atlas", "show", kDemoAtlas, "--genes"})["gene_names"].size(), 1000u);

  const Ended text = server_->Run({"atlas", "show", kDemoAtlas});
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, AllOf(HasSubstr("SCANVI, saved by scvi-tools 1.4.2"),
                              HasSubstr("lab_a, lab_b, lab_c"), HasSubstr("CD16+ monocyte")));
}

TEST_F(AtlasTest, ListsTheReferenceAsTheOnlyVersion) {
  const nlohmann::json versions = server_->RunJson({"versions", kDemoAtlas})["versions"];
  ASSERT_EQ(versions.size(), 1u);
  const std::string id = versions[0]["id"];
  EXPECT_EQ(id, server_->RunJson({"atlas", "show", kDemoAtlas})["reference_version"]);
  EXPECT_EQ(versions[0]["parent"], "");
  EXPECT_EQ(versions[0]["extension_kind"], "reference");
  EXPECT_THAT(versions[0]["lineage"].get<std::vector<std::string>>(), ElementsAre(id));
}

TEST_F(AtlasTest, FindsAVersionByTheStartOfItsId) {
  const std::string id = server_->RunJson({"versions", kDemoAtlas})["versions"][0]["id"];
  const TemporaryDirectory out;
  for (const std::string& version : {id, id.substr(0, 4), std::string("latest")}) {
    const nlohmann::json report = server_->Embed(DemoQuery(), out / (version + ".h5ad"),
                                                 {"--batch", "lab_a", "--version", version});
    EXPECT_EQ(report["version"], id);
  }
}

TEST_F(AtlasTest, RefusesAVersionThatIsNotThere) {
  const TemporaryDirectory out;
  for (const char* version : {"00000000", "a"}) {
    const Ended ended = server_->Run({"embed", DemoQuery(), "--atlas", kDemoAtlas, "--batch",
                                      "lab_a", "--version", version, "-o", out / "x.h5ad"});
    ExpectRefused(ended, "version");
    EXPECT_THAT(ended.err, HasSubstr(version));
  }
  EXPECT_THAT(out.Entries(), IsEmpty());
}

TEST_F(AtlasTest, RefusesAnUnknownAtlasNamingThoseThere) {
  const TemporaryDirectory out;
  const std::vector<std::vector<std::string>> commands = {
      {"atlas", "show", "atlantis"},
      {"versions", "atlantis"},
      {"map", DemoQuery(), "--atlas", "atlantis", "--batch-key", "batch", "-o", out / "x.h5ad"}};
  for (const auto& command : commands) {
    const Ended ended = server_->Run(command);
    EXPECT_EQ(ended.status, 1);
    EXPECT_EQ(ended.out, "");
    EXPECT_THAT(ended.err, AllOf(HasSubstr("found: no atlas \"atlantis\""),
                                 HasSubstr("remedy: Atlases here: cite_demo, pbmc_demo")));
  }
  EXPECT_THAT(out.Entries(), IsEmpty());
}

TEST_F(AtlasTest, PrintsErrorsAsJsonWhereAsked) {
  const Ended ended = server_->Run({"--json", "atlas", "show", "atlantis"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.out, "");
  const nlohmann::json error = nlohmann::json::parse(ended.err, nullptr, false)["error"];
  EXPECT_EQ(error["code"], "NOT_FOUND");
  EXPECT_EQ(error["found"], "no atlas \"atlantis\"");
  EXPECT_EQ(error["remedy"], "Atlases here: cite_demo, pbmc_demo.");
}

// A port that is bound but not listened on refuses connections, and nobody else can take it.
class SilentPort {
 public:
  SilentPort() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, generic, size), 0);
    EXPECT_EQ(getsockname(socket_, generic, &size), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~SilentPort() { close(socket_); }
  SilentPort(const SilentPort&) = delete;
  SilentPort& operator=(const SilentPort&) = delete;

  const std::string& address() const { return address_; }

 private:
  int socket_;
  std::string address_;
};

TEST(NoServerTest, SaysThatNobodyListens) {
  const SilentPort port;
  const TemporaryDirectory out;
  const Ended list = RunPortolan({"--server", port.address(), "atlas", "list"});
  ExpectRefused(list, "server");
  EXPECT_THAT(list.err, AllOf(HasSubstr(port.address()), HasSubstr("portolan-server serve")));
  const Ended map = RunPortolan({"--server", port.address(), "map", DemoQuery(), "--atlas",
                                 kDemoAtlas, "--batch-key", "batch", "-o", out / "x.h5ad"});
  ExpectRefused(map, "server");
  EXPECT_THAT(out.Entries(), IsEmpty());
}

TEST(UsageTest, BadCommandLinesAreStatusTwo) {
  const std::vector<std::vector<std::string>> commands = {
      {},
      {"sail"},
      {"atlas"},
      {"atlas", "show"},
      {"map"},
      {"map", "q.h5ad", "--atlas", "a", "-o", "x.h5ad"},  // no --batch-key
      {"map", "q.h5ad", "--atlas", "a", "--batch-key", "b", "-o", "x.h5ad", "--epochs", "none"},
      {"map", "q.h5ad", "--atlas", "a", "--batch-key", "b", "-o", "x.h5ad", "--epochs", "0"},
      {"map", "q.h5ad", "--atlas", "a", "--batch-key", "b", "-o", "x.h5ad", "--strategy", "luck"},
      {"embed", "q.h5ad", "--atlas", "a", "-o", "x.h5ad"},  // neither --batch nor --batch-key
      {"embed", "q.h5ad", "--atlas", "a", "-o", "x.h5ad", "--batch", "b", "--batch-key", "k"}};
  for (const auto& command : commands) {
    const Ended ended = RunPortolan(command);
    EXPECT_EQ(ended.status, 2) << testing::PrintToString(command);
    EXPECT_THAT(ended.err, Not(IsEmpty())) << testing::PrintToString(command);
  }
  EXPECT_EQ(RunPortolan({"--help"}).status, 0);
  EXPECT_EQ(RunPortolan({"--version"}).status, 0);
}

}  // namespace
}  // namespace portolan::end_to_end
