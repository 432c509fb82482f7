#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "portolan/v1/atlas.grpc.pb.h"
#include "portolan/v1/embedding.grpc.pb.h"
#include "portolan/v1/mapping.grpc.pb.h"
#include "portolan/v1/upload.grpc.pb.h"
#include "server/app.h"
#include "tests/core/jobs/fake_clock.h"
#include "tests/paths.h"
#include "tests/server/blocks.h"
#include "tests/server/decode_status.h"

namespace portolan::server {

/// A server in this process, on a free port, with the demo's atlas; and stubs that talk to it over
/// a real socket.
class RunningServer : public testing::Test {
 protected:
  static constexpr char kReference[] = "atlases/pbmc_demo/versions/reference";
  static constexpr int64_t kGenes = 1000;

  /// Called before the first stub is used; tests change options_ before.
  void Start() {
    options_.atlases = SourceDir() + "/demo/atlases";
    options_.listen = "127.0.0.1:0";
    options_.workers = 2;
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    atlases_ = v1::AtlasService::NewStub(channel_);
    uploads_ = v1::UploadService::NewStub(channel_);
    mappings_ = v1::MappingService::NewStub(channel_);
    embeddings_ = v1::EmbeddingService::NewStub(channel_);
  }

  void SetUp() override {
    options_.now = clock_.Function();
    Start();
  }

  static v1::CreateUploadRequest UploadRequest(int64_t cells) {
    v1::CreateUploadRequest request;
    request.set_version(kReference);
    request.set_cells(cells);
    request.add_batches("lab_x");
    request.add_batches("lab_y");
    request.mutable_genes()->set_reference_genes(kGenes);
    request.mutable_genes()->set_matched(kGenes);
    return request;
  }

  grpc::Status CreateUpload(const v1::CreateUploadRequest& request, v1::Upload* upload) {
    grpc::ClientContext context;
    return uploads_->CreateUpload(&context, request, upload);
  }

  std::string NewUpload(int64_t cells) {
    v1::Upload upload;
    const grpc::Status status = CreateUpload(UploadRequest(cells), &upload);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return upload.name();
  }

  static v1::WritePartRequest Part(const std::string& upload, int64_t part,
                                   const std::vector<TestCell>& cells) {
    v1::WritePartRequest request;
    request.set_upload(upload);
    request.set_part(part);
    *request.mutable_block() = MakeBlock(cells);
    return request;
  }

  grpc::Status WriteParts(const std::vector<v1::WritePartRequest>& parts,
                          v1::Upload* answer = nullptr) {
    grpc::ClientContext context;
    v1::Upload upload;
    const auto stream = uploads_->WriteParts(&context, &upload);
    for (const v1::WritePartRequest& part : parts) {
      if (!stream->Write(part)) break;
    }
    stream->WritesDone();
    const grpc::Status status = stream->Finish();
    if (answer != nullptr) *answer = upload;
    return status;
  }

  grpc::Status GetUpload(const std::string& name, v1::Upload* upload) {
    grpc::ClientContext context;
    v1::GetUploadRequest request;
    request.set_name(name);
    return uploads_->GetUpload(&context, request, upload);
  }

  grpc::Status CompleteUpload(const std::string& name, v1::Upload* upload = nullptr) {
    grpc::ClientContext context;
    v1::CompleteUploadRequest request;
    request.set_name(name);
    v1::Upload ignored;
    return uploads_->CompleteUpload(&context, request, upload == nullptr ? &ignored : upload);
  }

  grpc::Status DeleteUpload(const std::string& name) {
    grpc::ClientContext context;
    v1::DeleteUploadRequest request;
    request.set_name(name);
    v1::DeleteUploadResponse response;
    return uploads_->DeleteUpload(&context, request, &response);
  }

  /// A complete upload of `cells` cells in two new batches.
  std::string CompleteQuery(int64_t cells) {
    const std::string name = NewUpload(cells);
    EXPECT_TRUE(WriteParts({Part(name, 0, SomeCells(0, cells, kGenes, 2))}).ok());
    EXPECT_TRUE(CompleteUpload(name).ok());
    return name;
  }

  FakeClock clock_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AtlasService::Stub> atlases_;
  std::unique_ptr<v1::UploadService::Stub> uploads_;
  std::unique_ptr<v1::MappingService::Stub> mappings_;
  std::unique_ptr<v1::EmbeddingService::Stub> embeddings_;
};

}  // namespace portolan::server
