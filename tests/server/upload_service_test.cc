#include "server/upload_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/running_server.h"

namespace portolan::server {
namespace {

class UploadServiceTest : public RunningServer {
 protected:
  UploadServiceTest() {
    options_.uploads.max_cells = 1000;
    options_.uploads.max_open = 3;
  }
};

TEST_F(UploadServiceTest, TakesPartsInOrderAndCompletes) {
  v1::Upload upload;
  ASSERT_TRUE(CreateUpload(UploadRequest(10), &upload).ok());
  EXPECT_THAT(upload.name(), testing::StartsWith("uploads/"));
  EXPECT_THAT(upload.version(), testing::StartsWith("atlases/pbmc_demo/versions/"));
  EXPECT_EQ(upload.cells(), 10);
  EXPECT_EQ(upload.next_part(), 0);
  v1::Upload written;
  const grpc::Status status = WriteParts({Part(upload.name(), 0, SomeCells(0, 4, kGenes, 2)),
                                          Part(upload.name(), 1, SomeCells(4, 6, kGenes, 2))},
                                         &written);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(written.cells_received(), 10);
  EXPECT_EQ(written.next_part(), 2);
  EXPECT_FALSE(written.complete());
  v1::Upload complete;
  ASSERT_TRUE(CompleteUpload(upload.name(), &complete).ok());
  EXPECT_TRUE(complete.complete());
}

TEST_F(UploadServiceTest, ABrokenStreamIsResumed) {
  const std::string name = NewUpload(6);
  {
    grpc::ClientContext context;
    v1::Upload answer;
    const auto stream = uploads_->WriteParts(&context, &answer);
    ASSERT_TRUE(stream->Write(Part(name, 0, SomeCells(0, 2, kGenes))));
    // The part counts once the server says so, not when it was sent.
    v1::Upload upload;
    do {
      ASSERT_TRUE(GetUpload(name, &upload).ok());
    } while (upload.next_part() == 0);
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  }
  v1::Upload upload;
  ASSERT_TRUE(GetUpload(name, &upload).ok());
  EXPECT_EQ(upload.next_part(), 1);
  EXPECT_EQ(upload.cells_received(), 2);
  // From one part too early: what is there is skipped.
  v1::Upload written;
  ASSERT_TRUE(
      WriteParts({Part(name, 0, SomeCells(0, 2, kGenes)), Part(name, 1, SomeCells(2, 4, kGenes))},
                 &written)
          .ok());
  EXPECT_EQ(written.cells_received(), 6);
  EXPECT_TRUE(CompleteUpload(name).ok());
}

TEST_F(UploadServiceTest, AWrongChecksumIsDataLossNamingThePartAndTheGoodPartsStay) {
  const std::string name = NewUpload(6);
  v1::WritePartRequest damaged = Part(name, 1, SomeCells(2, 2, kGenes));
  damaged.mutable_block()->mutable_values()->front() ^= 4;
  const grpc::Status status = WriteParts({Part(name, 0, SomeCells(0, 2, kGenes)), damaged});
  ExpectFieldError(status, grpc::DATA_LOSS, "block.crc32");
  EXPECT_THAT(Decode(status).found(), testing::HasSubstr("part 1"));
  v1::Upload upload;
  ASSERT_TRUE(GetUpload(name, &upload).ok());
  EXPECT_EQ(upload.next_part(), 1);
}

TEST_F(UploadServiceTest, PartsOutOfOrderAreRefused) {
  const std::string name = NewUpload(6);
  const grpc::Status status = WriteParts({Part(name, 1, SomeCells(0, 2, kGenes))});
  ExpectFieldError(status, grpc::FAILED_PRECONDITION, "part");
  EXPECT_THAT(Decode(status).remedy(), testing::HasSubstr("part 0"));
}

TEST_F(UploadServiceTest, BadCountsAreInvalidWithAFieldViolation) {
  const std::string name = NewUpload(1);
  const grpc::Status status = WriteParts({Part(name, 0, {{"a", 0, {{3, 0.5f}}}})});
  ExpectFieldError(status, grpc::INVALID_ARGUMENT, "block.values");
  const DecodedStatus decoded = Decode(status);
  ASSERT_TRUE(decoded.bad_request.has_value());
  EXPECT_EQ(decoded.bad_request->field_violations(0).field(), "block.values");
}

TEST_F(UploadServiceTest, DuplicateCellNamesAreRefusedAtCompletion) {
  const std::string name = NewUpload(2);
  ASSERT_TRUE(WriteParts({Part(name, 0, {{"twin", 0, {{3, 1}}}, {"twin", 1, {{4, 1}}}})}).ok());
  const grpc::Status status = CompleteUpload(name);
  ExpectFieldError(status, grpc::INVALID_ARGUMENT, "obs_names");
  EXPECT_THAT(Decode(status).found(), testing::HasSubstr("twin"));
}

TEST_F(UploadServiceTest, LimitsAreResourceExhaustedWithRetryInfo) {
  v1::Upload upload;
  ExpectFieldError(CreateUpload(UploadRequest(1001), &upload), grpc::RESOURCE_EXHAUSTED, "cells");
  for (int i = 0; i < 3; ++i) NewUpload(1);
  const grpc::Status status = CreateUpload(UploadRequest(1), &upload);
  ExpectFieldError(status, grpc::RESOURCE_EXHAUSTED, "uploads");
  EXPECT_TRUE(Decode(status).retry.has_value());
}

TEST_F(UploadServiceTest, IdleUploadsExpire) {
  const std::string name = NewUpload(1);
  clock_.Advance(absl::Hours(1));
  v1::Upload upload;
  ExpectFieldError(GetUpload(name, &upload), grpc::NOT_FOUND, "upload");
}

TEST_F(UploadServiceTest, DeletedUploadsAreGone) {
  const std::string name = NewUpload(1);
  EXPECT_TRUE(DeleteUpload(name).ok());
  v1::Upload upload;
  EXPECT_EQ(GetUpload(name, &upload).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(WriteParts({Part(name, 0, SomeCells(0, 1, kGenes))}).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(DeleteUpload(name).error_code(), grpc::NOT_FOUND);
}

TEST_F(UploadServiceTest, BadRequestsNameTheField) {
  v1::Upload upload;
  v1::CreateUploadRequest request = UploadRequest(1);
  request.set_version("pbmc_demo");
  ExpectFieldError(CreateUpload(request, &upload), grpc::INVALID_ARGUMENT, "version");
  request = UploadRequest(1);
  request.mutable_genes()->set_reference_genes(999);
  ExpectFieldError(CreateUpload(request, &upload), grpc::INVALID_ARGUMENT, "genes.reference_genes");
  ExpectFieldError(GetUpload("mappings/1", &upload), grpc::INVALID_ARGUMENT, "name");
  ExpectFieldError(WriteParts({}), grpc::INVALID_ARGUMENT, "upload");
  const std::string first = NewUpload(1);
  const std::string second = NewUpload(1);
  ExpectFieldError(WriteParts({Part(first, 0, SomeCells(0, 1, kGenes)),
                               Part(second, 0, SomeCells(0, 1, kGenes))}),
                   grpc::INVALID_ARGUMENT, "upload");
}

TEST_F(UploadServiceTest, AMessageBeyondTheCapIsRefusedAndTheServerGoesOn) {
  const std::string name = NewUpload(1);
  v1::WritePartRequest part = Part(name, 0, SomeCells(0, 1, kGenes));
  part.mutable_block()->set_cell_names(0, std::string(9 << 20, 'x'));
  EXPECT_EQ(WriteParts({part}).error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(WriteParts({Part(name, 0, SomeCells(0, 1, kGenes))}).ok());
}

}  // namespace
}  // namespace portolan::server
