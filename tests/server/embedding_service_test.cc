#include "server/embedding_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/running_server.h"

namespace portolan::server {
namespace {

class EmbeddingServiceTest : public RunningServer {
 protected:
  static v1::EmbedRequest Header(const std::vector<std::string>& batches) {
    v1::EmbedRequest request;
    request.mutable_header()->set_version(kReference);
    request.mutable_header()->mutable_batches()->Add(batches.begin(), batches.end());
    return request;
  }

  static v1::EmbedRequest Block(const std::vector<TestCell>& cells) {
    v1::EmbedRequest request;
    *request.mutable_block() = MakeBlock(cells);
    request.mutable_block()->clear_cell_names();
    return request;
  }

  grpc::Status Embed(const std::vector<v1::EmbedRequest>& requests,
                     std::vector<v1::EmbedResponse>* responses) {
    grpc::ClientContext context;
    const auto stream = embeddings_->Embed(&context);
    responses->clear();
    for (const v1::EmbedRequest& request : requests) {
      v1::EmbedResponse response;
      if (!stream->Write(request) || !stream->Read(&response)) break;
      responses->push_back(response);
    }
    stream->WritesDone();
    return stream->Finish();
  }

  v1::Version Reference() {
    grpc::ClientContext context;
    v1::GetVersionRequest request;
    request.set_name(kReference);
    v1::Version version;
    EXPECT_TRUE(atlases_->GetVersion(&context, request, &version).ok());
    return version;
  }

  std::string KnownBatch() { return Reference().batches(0); }
};

TEST_F(EmbeddingServiceTest, AnswersBlocksInOrderWhateverTheirSizes) {
  const std::vector<TestCell> cells = SomeCells(0, 9, kGenes);
  const v1::EmbedRequest header = Header({KnownBatch()});
  std::vector<v1::EmbedResponse> whole;
  const grpc::Status status = Embed({header, Block(cells)}, &whole);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(whole.size(), 2u);
  EXPECT_EQ(whole[0].header().version_id(), Reference().id());
  EXPECT_EQ(whole[0].header().labels_size(), 8);
  EXPECT_NE(whole[0].header().instruction_set(), "");
  EXPECT_EQ(whole[1].block().cells(), 9);
  EXPECT_EQ(whole[1].block().n_latent(), 15);
  EXPECT_EQ(whole[1].block().n_labels(), 8);

  std::vector<v1::EmbedResponse> cut;
  ASSERT_TRUE(Embed({header, Block({cells.begin(), cells.begin() + 4}),
                     Block({cells.begin() + 4, cells.end()})},
                    &cut)
                  .ok());
  ASSERT_EQ(cut.size(), 3u);
  EXPECT_EQ(cut[2].block().first_cell(), 4);
  EXPECT_EQ(cut[1].block().latent() + cut[2].block().latent(), whole[1].block().latent());
  EXPECT_EQ(cut[1].block().probabilities() + cut[2].block().probabilities(),
            whole[1].block().probabilities());
}

TEST_F(EmbeddingServiceTest, MistakesNameTheField) {
  std::vector<v1::EmbedResponse> responses;
  const std::string known = KnownBatch();
  ExpectFieldError(Embed({}, &responses), grpc::INVALID_ARGUMENT, "header");
  ExpectFieldError(Embed({Block(SomeCells(0, 1, kGenes))}, &responses), grpc::INVALID_ARGUMENT,
                   "header");
  ExpectFieldError(Embed({Header({known}), Header({known})}, &responses), grpc::INVALID_ARGUMENT,
                   "header");
  ExpectFieldError(Embed({v1::EmbedRequest()}, &responses), grpc::INVALID_ARGUMENT, "content");
  const grpc::Status unknown = Embed({Header({known, "lab_x"})}, &responses);
  ExpectFieldError(unknown, grpc::INVALID_ARGUMENT, "header.batches");
  EXPECT_THAT(Decode(unknown).found(), testing::HasSubstr("lab_x"));
  v1::EmbedRequest damaged = Block(SomeCells(0, 1, kGenes));
  damaged.mutable_block()->set_crc32(1);
  ExpectFieldError(Embed({Header({known}), damaged}, &responses), grpc::DATA_LOSS, "block.crc32");
  EXPECT_EQ(responses.size(), 1u) << "the header had been answered";
}

TEST_F(EmbeddingServiceTest, ABlockWithAnOversizedAnswerIsRefused) {
  std::vector<TestCell> cells(100'000);
  std::vector<v1::EmbedResponse> responses;
  ExpectFieldError(Embed({Header({KnownBatch()}), Block(cells)}, &responses),
                   grpc::RESOURCE_EXHAUSTED, "block.row_lengths");
}

}  // namespace
}  // namespace portolan::server
