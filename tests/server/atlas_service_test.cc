#include "server/atlas_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/server/running_server.h"

namespace portolan::server {
namespace {

class AtlasServiceTest : public RunningServer {
 protected:
  grpc::Status GetVersion(const std::string& name, v1::Version* version) {
    grpc::ClientContext context;
    v1::GetVersionRequest request;
    request.set_name(name);
    return atlases_->GetVersion(&context, request, version);
  }
};

TEST_F(AtlasServiceTest, DescribesTheAtlas) {
  grpc::ClientContext list_context;
  v1::ListAtlasesResponse list;
  ASSERT_TRUE(atlases_->ListAtlases(&list_context, {}, &list).ok());
  ASSERT_EQ(list.atlases_size(), 2);
  EXPECT_EQ(list.refused_size(), 0);

  grpc::ClientContext context;
  v1::GetAtlasRequest request;
  request.set_name("atlases/pbmc_demo");
  v1::Atlas atlas;
  ASSERT_TRUE(atlases_->GetAtlas(&context, request, &atlas).ok());
  EXPECT_EQ(atlas.SerializeAsString(), list.atlases(1).SerializeAsString());
  EXPECT_EQ(atlas.name(), "atlases/pbmc_demo");
  EXPECT_EQ(atlas.version_count(), 1);
  EXPECT_EQ(atlas.model().model_class(), "SCANVI");
  EXPECT_EQ(atlas.model().n_latent(), 15);
  EXPECT_EQ(atlas.model().n_genes(), kGenes);
  EXPECT_EQ(atlas.model().gene_likelihood(), "zinb");
  EXPECT_EQ(atlas.model().batch_key(), "batch");
  EXPECT_EQ(atlas.model().labels_size(), 8);
  EXPECT_TRUE(atlas.model().layer_norm());
  EXPECT_FALSE(atlas.model().batch_norm());
}

TEST_F(AtlasServiceTest, FindsVersionsByAliasIdAndPrefix) {
  v1::Version version;
  ASSERT_TRUE(GetVersion(kReference, &version).ok());
  EXPECT_EQ(version.genes_size(), kGenes);
  EXPECT_EQ(version.batches_size(), 3);
  EXPECT_EQ(version.extension_kind(), "reference");
  EXPECT_THAT(version.lineage(), testing::ElementsAre(version.id()));
  EXPECT_EQ(version.name(), "atlases/pbmc_demo/versions/" + version.id());
  for (const std::string& id : {std::string("latest"), version.id(), version.id().substr(0, 8)}) {
    v1::Version same;
    ASSERT_TRUE(GetVersion("atlases/pbmc_demo/versions/" + id, &same).ok()) << id;
    EXPECT_EQ(same.id(), version.id());
  }

  grpc::ClientContext context;
  v1::ListVersionsRequest request;
  request.set_parent("atlases/pbmc_demo");
  v1::ListVersionsResponse list;
  ASSERT_TRUE(atlases_->ListVersions(&context, request, &list).ok());
  ASSERT_EQ(list.versions_size(), 1);
  EXPECT_EQ(list.versions(0).id(), version.id());
  EXPECT_EQ(list.versions(0).genes_size(), 0) << "the list leaves the genes out";
}

TEST_F(AtlasServiceTest, UnknownNamesAreNotFoundAndSayWhatExists) {
  v1::Version version;
  const grpc::Status no_atlas = GetVersion("atlases/nothing/versions/latest", &version);
  ExpectFieldError(no_atlas, grpc::NOT_FOUND, "name");
  EXPECT_THAT(no_atlas.error_message(), testing::HasSubstr("pbmc_demo"));
  EXPECT_EQ(GetVersion("atlases/pbmc_demo/versions/0000000000", &version).error_code(),
            grpc::NOT_FOUND);
  ExpectFieldError(GetVersion("atlases/pbmc_demo", &version), grpc::INVALID_ARGUMENT, "name");
  EXPECT_TRUE(Decode(GetVersion("", &version)).bad_request.has_value());
}

TEST(RefusedAtlasTest, IsListedWithItsReasonAndTheServerGoesOn) {
  namespace fs = std::filesystem;
  const fs::path directory = fs::path(testing::TempDir()) / "portolan_refused_atlas_test";
  fs::remove_all(directory);
  fs::create_directories(directory / "broken");
  std::ofstream(directory / "broken" / "model.pt") << "this is no model";
  ServerOptions options;
  options.atlases = directory.string();
  options.listen = "127.0.0.1:0";
  const absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::AtlasService::NewStub(
      grpc::CreateChannel((*server)->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext list_context;
  v1::ListAtlasesResponse list;
  ASSERT_TRUE(stub->ListAtlases(&list_context, {}, &list).ok());
  EXPECT_EQ(list.atlases_size(), 0);
  ASSERT_EQ(list.refused_size(), 1);
  EXPECT_EQ(list.refused(0).name(), "broken");
  EXPECT_NE(list.refused(0).reason(), "");

  grpc::ClientContext context;
  v1::GetAtlasRequest request;
  request.set_name("atlases/broken");
  v1::Atlas atlas;
  const grpc::Status status = stub->GetAtlas(&context, request, &atlas);
  ExpectFieldError(status, grpc::NOT_FOUND, "name");
  EXPECT_THAT(status.error_message(), testing::HasSubstr("could not be opened"));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace portolan::server
